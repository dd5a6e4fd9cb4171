"""A flow of one pure step with one text as its input."""

from omega import flow


@flow
def hello(name: str) -> str:
    """Greet somebody."""
    return f"hello {name}"
