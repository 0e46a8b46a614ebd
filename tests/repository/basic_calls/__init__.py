"""A few basic calls of each package, each of which checks its numbers; `test_hidden_names` makes them."""


def error_of(call):
    """The text of the error that a call raises."""
    try:
        call()
    except Exception as error:
        return str(error)
    return "no error"
