"""How arrays are written in messages."""

from types import SimpleNamespace

from pax_tree._describe import dtype_and_shape


def test_dtype_and_shape():
    array = SimpleNamespace(dtype="torch.float32", shape=(2, 3))
    assert dtype_and_shape(array) == "float32[2,3]"
    assert dtype_and_shape(array, ", ") == "float32[2, 3]"
    assert dtype_and_shape(SimpleNamespace(dtype="int8", shape=())) == "int8[]"
    assert dtype_and_shape(3.0) == "float"
