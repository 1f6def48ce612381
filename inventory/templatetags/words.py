"""Template filters for codes in words; the words are in `inventory.words`."""

from django import template

from inventory import words

register = template.Library()
register.filter("actor_words", words.actor_words)
register.filter("step_words", words.step_words)
register.filter("source_words", words.source_words)
register.filter("in_words", words.in_words)
