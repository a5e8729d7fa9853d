"""What a value of a key may be, by its type."""

from numbers import Integral, Real
from typing import Literal, get_args, get_origin, get_type_hints

from midalign.errors import InputError
from midalign.texts import quoted

KINDS = {bool: (bool, "true or false"), int: (Integral, "a whole number"), float: (Real, "a number")}


def require_kinds(config, holder):
    """Raises InputError for a value that its key does not take, as the parser of a recipe does before it comes here.

    holder: the dataclass whose own keys are looked at.
    """
    hints = get_type_hints(holder)
    for key in holder.__annotations__:
        value, kind = getattr(config, key), hints[key]
        found = quoted(value) if isinstance(value, str) else value
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise InputError(f"{key}: found {found}; choose from {', '.join(get_args(kind))}.")
            continue
        kind, *optional = (get_args(kind) if get_origin(kind) is not list else ()) or (kind,)
        if optional and value is None:
            continue
        of = get_args(kind)[0] if get_origin(kind) is list else kind
        taken, what = KINDS[of]
        listed = of is not kind and isinstance(value, list)
        each = value if listed else [value] if of is kind or not optional else [None]
        if not all(isinstance(one, taken) and isinstance(one, bool) == (of is bool) for one in each):
            allowed = f"{what} or a list of them" if not optional else f"a list, each item {what}"
            raise InputError(f"{key}: found {found}; give it {what if of is kind else allowed}.")
