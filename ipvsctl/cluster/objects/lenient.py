"""Values that are not quite of their type, as the API server would have stored them.

A manifest passes no API server, and says things that a server takes in its stride: a
null among strings or objects is an empty one (Go's encoding/json leaves such an item as
it was made), and 80.0 is 80 (kubectl reads and writes it as a number). "80" is no
number to either of them. A `Letter` of YAML is a boolean or text, as is expected.
"""

from msgspec import inspect

from ipvsctl.cluster.text.scalars import Letter


def as_stored(value: object, shape: inspect.Type) -> object:
    """The value as it would come from the API server; a value it would refuse as it is.

    Args:
        value: plain Python values, as JSON and YAML readers make them.
        shape: of one of `api`'s classes.
    """
    match shape:
        case inspect.UnionType(types=types) if value is not None:
            # In these shapes it is something, or null.
            return as_stored(value, types[0])
        case inspect.StructType(fields=fields) if isinstance(value, dict):
            known = {f.encode_name: f.type for f in fields}
            return {
                name: as_stored(inner, known[name]) if name in known else inner
                for name, inner in value.items()
            }
        case (
            inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item)
        ) if isinstance(value, list):
            return [as_stored(_empty(item) if v is None else v, item) for v in value]
        case inspect.DictType(value_type=inner) if isinstance(value, dict):
            return {
                k: as_stored(_empty(inner) if v is None else v, inner)
                for k, v in value.items()
            }
        case _:
            return _scalar(value, shape)


def _scalar(value: object, shape: inspect.Type) -> object:
    match shape:
        case inspect.IntType() if isinstance(value, float) and value.is_integer():
            return int(value)
        case inspect.BoolType() if isinstance(value, Letter):
            return value.boolean
        case inspect.StrType() if isinstance(value, Letter):
            return str(value)
        case _:
            return value


def _empty(wanted: inspect.Type) -> object:
    return {} if isinstance(wanted, inspect.StructType) else ""
