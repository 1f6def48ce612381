"""Rows of models, read and written by SQL that is made once: for the busiest paths only.

For a table of forty columns Django takes several times as long to build a statement as PostgreSQL takes to run it.
Nothing here sends Django's signals; what has to be in the audit history is saved by its model.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, LiteralString, TypeVar, cast

from django.core.exceptions import ObjectDoesNotExist
from django.db import connection
from django.db.models import Field, Model
from django.db.models.expressions import DatabaseDefault

Row = TypeVar("Row", bound=Model)
Converter = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class _Table:
    """What of a model's table does not change while the process runs."""

    name: str
    fields: "tuple[Field[Any, Any], ...]"
    attributes: tuple[str, ...]
    columns: tuple[str, ...]
    converters: tuple[tuple[int, Any, list[Converter]], ...]
    """Position, column expression and functions of the columns that psycopg does not read as Django means them."""


@cache
def _table(model: type[Model]) -> _Table:
    fields = tuple(model._meta.concrete_fields)
    expressions = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (position, expression, connection.ops.get_db_converters(expression) + expression.get_db_converters(connection))
        for position, expression in enumerate(expressions)
    ]
    return _Table(
        name=connection.ops.quote_name(model._meta.db_table),
        fields=fields,
        attributes=tuple(field.attname for field in fields),
        columns=tuple(connection.ops.quote_name(str(field.column)) for field in fields),
        converters=tuple(item for item in converters if item[2]),
    )


def rows(model: type[Row], where: LiteralString, *values: Any, lock: bool = False) -> list[Row]:
    """The rows of a model's table, in whole.

    :param where: the condition, and the order where it matters; each value stands as %s.
    :param lock: lock them until the end of the transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(_select(model, where, lock), list(values))
        found = cursor.fetchall()
    table = _table(model)
    return [model.from_db(connection.alias, table.attributes, _converted(table, row)) for row in found]


def row(model: type[Row], where: LiteralString, *values: Any, lock: bool = False) -> Row | None:
    """As `rows`; the first of them, or None."""
    return next(iter(rows(model, where, *values, lock=lock)), None)


def row_of(model: type[Row], key: Any, *, lock: bool = False) -> Row:
    """The row with this primary key, which is the column `id`.

    :raises ObjectDoesNotExist: when there is none.
    """
    found = row(model, "id = %s", key, lock=lock)
    if found is None:
        raise _does_not_exist(model, key)
    return found


@cache
def _select(model: type[Model], where: str, lock: bool) -> str:
    table = _table(model)
    columns, locking = ", ".join(table.columns), " FOR UPDATE" if lock else ""
    return f"SELECT {columns} FROM {table.name} WHERE {where}{locking}"  # noqa: S608  # names of our own models


def _converted(table: _Table, found: Sequence[Any]) -> Sequence[Any]:
    if not table.converters:
        return found
    converted = list(found)
    for position, expression, converters in table.converters:
        for convert in converters:
            converted[position] = convert(converted[position], expression, connection)
    return converted


def insert(instance: Model, *, unless_known: bool = False) -> bool:
    """Store a new row, and give the instance its primary key.

    :param unless_known: store nothing where the row would break a unique constraint.
    :returns: whether the row was stored.
    """
    table = _table(type(instance))
    values = [field.pre_save(instance, add=True) for field in table.fields]
    given = _given(table, values)
    with connection.cursor() as cursor:
        cursor.execute(
            _insert(type(instance), given, unless_known),
            [table.fields[position].get_db_prep_save(values[position], connection) for position in given],
        )
        stored = cursor.fetchone()
    if stored is None:
        return False
    instance.pk = stored[0]
    instance._state.adding, instance._state.db = False, connection.alias
    return True


@cache
def _insert_all(model: type[Model], given: tuple[int, ...], unless_known: bool) -> str:
    # One array a column: the statement is the same for any number of rows, and its placeholders are few.
    types = [_type_of(_table(model).fields[position]) for position in given]
    names = [f"column_{position}" for position in given]
    arrays = ", ".join(f"%s::{'jsonb' if _is_array(of_one) else of_one}[]" for of_one in types)
    values = ", ".join(
        f"ARRAY(SELECT jsonb_array_elements_text({name}))::{of_one}" if _is_array(of_one) else name
        for name, of_one in zip(names, types, strict=True)
    )
    head, _, tail = _insert(model, given, unless_known).partition(f"VALUES ({', '.join(['%s'] * len(given))})")
    return f"{head}SELECT {values} FROM unnest({arrays}) AS given ({', '.join(names)}){tail}"  # noqa: S608  # as above


def _given(table: _Table, values: Sequence[Any]) -> tuple[int, ...]:
    """Which columns a new row brings. The others get theirs from the database: automatic keys, and its defaults."""
    return tuple(
        position
        for position, value in enumerate(values)
        if not isinstance(value, DatabaseDefault) and not (value is None and table.fields[position].primary_key)
    )


@cache
def _insert(model: type[Model], given: tuple[int, ...], unless_known: bool) -> str:
    table = _table(model)
    columns = ", ".join(table.columns[position] for position in given)
    places = ", ".join(["%s"] * len(given))
    ignore = " ON CONFLICT DO NOTHING" if unless_known else ""
    key = connection.ops.quote_name(str(model._meta.pk.column))
    return f"INSERT INTO {table.name} ({columns}) VALUES ({places}){ignore} RETURNING {key}"  # noqa: S608  # our own names


def insert_all(instances: Sequence[Row], *, unless_known: bool = False) -> None:
    """Store new rows of one model by one statement, and give the instances their primary keys.

    All of them bring the same columns; arrays are of text, and none is NULL.

    :param unless_known: leave out rows that would break a unique constraint; the instances get no keys then.
    """
    if not instances:
        return
    model = type(instances[0])
    table = _table(model)
    prepared = [[field.pre_save(instance, add=True) for field in table.fields] for instance in instances]
    given = _given(table, prepared[0])
    columns = [_column(table.fields[position], [of_one[position] for of_one in prepared]) for position in given]
    with connection.cursor() as cursor:
        cursor.execute(_insert_all(model, given, unless_known), columns)
        stored = cursor.fetchall()
    if unless_known:
        return
    for instance, (key,) in zip(instances, stored, strict=True):
        instance.pk = key
        instance._state.adding, instance._state.db = False, connection.alias


def _column(field: "Field[Any, Any]", values: Sequence[Any]) -> list[Any]:
    """The values of one column. Arrays go as JSON, because an array of arrays has to have rows of one length."""
    stored = [field.get_db_prep_save(value, connection) for value in values]
    return [json.dumps(value) for value in stored] if _is_array(_type_of(field)) else stored


def _is_array(of_one: str) -> bool:
    return of_one.endswith("[]")


def update(instance: Model, attributes: Sequence[str] = ()) -> None:
    """Store a row that exists.

    :param attributes: the names of what is to be stored; without any, everything.
    :raises ObjectDoesNotExist: when there is no such row.
    """
    table = _table(type(instance))
    changed = tuple(
        position
        for position, field in enumerate(table.fields)
        if not field.primary_key and (not attributes or field.attname in attributes)
    )
    values = [
        table.fields[position].get_db_prep_save(table.fields[position].pre_save(instance, add=False), connection)
        for position in changed
    ]
    with connection.cursor() as cursor:
        cursor.execute(_update(type(instance), changed), [*values, instance.pk])
        if cursor.rowcount != 1:
            raise _does_not_exist(type(instance), instance.pk)


@cache
def _update(model: type[Model], changed: tuple[int, ...]) -> str:
    table = _table(model)
    assignments = ", ".join(f"{table.columns[position]} = %s" for position in changed)
    key = connection.ops.quote_name(str(model._meta.pk.column))
    return f"UPDATE {table.name} SET {assignments} WHERE {key} = %s"  # noqa: S608  # names of our own models


def update_all(instances: Sequence[Row], attributes: Sequence[str]) -> None:
    """Store some columns of rows of one model that exist, by one statement; no columns that hold arrays.

    :raises ObjectDoesNotExist: when one of them does not.
    """
    if not instances:
        return
    model = type(instances[0])
    table = _table(model)
    changed = tuple(position for position, field in enumerate(table.fields) if field.attname in attributes)
    values = [
        [
            table.fields[position].get_db_prep_save(table.fields[position].pre_save(instance, add=False), connection)
            for instance in instances
        ]
        for position in changed
    ]
    with connection.cursor() as cursor:
        cursor.execute(_update_all(model, changed), [[instance.pk for instance in instances], *values])
        if cursor.rowcount != len(instances):
            raise _does_not_exist(model, ", ".join(str(instance.pk) for instance in instances))


@cache
def _update_all(model: type[Model], changed: tuple[int, ...]) -> str:
    table = _table(model)
    positions = range(len(table.fields))
    key = next(position for position in positions if table.fields[position].primary_key)
    assignments = ", ".join(f"{table.columns[position]} = given.{table.columns[position]}" for position in changed)
    columns = ", ".join(table.columns[position] for position in (key, *changed))
    arrays = ", ".join(f"%s::{_type_of(table.fields[position])}[]" for position in (key, *changed))
    return (
        f"UPDATE {table.name} SET {assignments} FROM unnest({arrays}) AS given ({columns}) "  # noqa: S608  # our own names
        f"WHERE {table.name}.{table.columns[key]} = given.{table.columns[key]}"
    )


def _type_of(field: "Field[Any, Any]") -> str:
    """The column's type, as a cast names it."""
    return str(field.cast_db_type(connection))


def _does_not_exist(model: type[Model], key: object) -> ObjectDoesNotExist:
    kind: type[ObjectDoesNotExist] = cast(Any, model).DoesNotExist
    return kind(f"{model._meta.verbose_name} {key} does not exist.")
