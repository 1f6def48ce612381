"""How many chargers of a wave stand how: counted by the database as their cases move."""

from django.db import models


class CaseTally(models.Model):
    """So many more cases of a wave, or fewer, are in a state: the sum over its rows is how many there are.

    A trigger on the cases adds the rows, in the transaction that moves a case and whoever moves it. They are only ever
    added there, because a row that is counted up would make everybody wait who moves another charger of the wave.
    """

    # No constraint: it would lock the wave whenever a charger of it moves; and waves are never removed.
    wave = models.ForeignKey("migration.Wave", on_delete=models.DO_NOTHING, db_constraint=False, related_name="tallies")
    state = models.CharField(max_length=20)
    failed = models.BooleanField(help_text="Its last try failed, or a person has quarantined it.")
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.number:+} {self.state} in wave {self.wave_id}"
