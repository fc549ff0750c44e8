"""The type checker of the tests: beartype, to which an int is a float, as it is to Python's typing."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
