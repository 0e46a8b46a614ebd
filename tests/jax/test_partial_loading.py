"""Loading a part of what was saved, or another dtype: asked for, and told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


def trained(dtype=jnp.float32):
    net = pax.Sequential(pax.Linear(2, 4), pax.Dropout(0.5), pax.Linear(4, 5))
    cast = lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x  # noqa: E731
    return jax.tree.map(cast, net)


def fresh():
    """A net with another head, and an array more."""
    return pax.Sequential(pax.Linear(2, 4), pax.Dropout(0.5), pax.Linear(4, 3), pax.LayerNorm(3))


def from_dict(net, saved, path, **options):
    return pax.weights.load_partial(net, saved.state_dict(), **options)


def from_file(net, saved, path, **options):
    pax.weights.save_safetensors(saved, path / "net.safetensors")
    return pax.weights.load_partial(net, path / "net.safetensors", **options)


def from_checkpoint(net, saved, path, **options):
    pax.checkpoint.save(path / "steps", saved)
    return pax.checkpoint.load_partial(path / "steps", net, **options)


@pytest.mark.parametrize("load", [from_dict, from_file, from_checkpoint])
def test_what_fits_is_taken_and_the_rest_is_told(load, tmp_path):
    net, saved = fresh(), trained()
    loaded, report = load(net, saved, tmp_path)
    assert loaded.modules[0] == saved.modules[0]
    assert loaded.modules[1] == saved.modules[1]
    assert loaded.modules[2] == net.modules[2]
    assert report.taken == ("modules.0.weight", "modules.0.bias", "modules.1.rng_key")
    assert report.missing == ("modules.3.scale", "modules.3.offset")
    assert (report.unknown, report.cast) == ((), {})
    assert report.unfit["modules.2.weight"] == "is float32[4,5], expected float32[4,3]"
    assert "3 arrays taken: modules.0.weight" in str(report)
    assert "2 missing: modules.3.scale, modules.3.offset" in str(report)


@pytest.mark.parametrize("load", [from_dict, from_file, from_checkpoint])
def test_another_dtype_is_taken_if_it_is_asked_for(load, tmp_path):
    net, saved = fresh(), trained(jnp.bfloat16)
    loaded, report = load(net, saved, tmp_path, cast=True)
    assert loaded.modules[0].weight.dtype == jnp.float32
    assert (loaded.modules[0].weight == saved.modules[0].weight.astype(jnp.float32)).all()
    assert report.cast == {"modules.0.weight": "bfloat16", "modules.0.bias": "bfloat16"}
    assert load is not from_dict or from_dict(net, saved, None)[1].taken == ("modules.1.rng_key",)


def test_a_strict_load_casts_if_it_is_asked_to(tmp_path):
    saved, net = trained(jnp.float16), trained()
    with pytest.raises(ValueError, match=r"modules\.0\.weight is float16"):
        net.load_state_dict(saved.state_dict())
    pax.weights.save_safetensors(saved, tmp_path / "net")
    pax.checkpoint.save(tmp_path / "steps", saved)
    with pytest.raises(ValueError, match=r"is float16\[2,4\] in the checkpoint, expected float32"):
        pax.checkpoint.load(tmp_path / "steps", net)
    for loaded in (
        net.load_state_dict(saved.state_dict(), cast=True),
        pax.weights.load_safetensors(net, tmp_path / "net", cast=True),
        pax.checkpoint.load(tmp_path / "steps", net, cast=True),
        pax.weights.load_torch(net, pax.weights.to_torch(saved), cast=True),
    ):
        assert loaded.modules[2].weight.dtype == jnp.float32
        assert (loaded.modules[2].weight == saved.modules[2].weight.astype(jnp.float32)).all()
    with pytest.raises(ValueError, match=r"bias is int32\[3\], expected float32\[3\]"):
        pax.Linear(2, 3).load_state_dict(
            {"weight": jnp.ones((2, 3)), "bias": np.ones(3, np.int32)}, cast=True
        )


def test_nothing_that_fits_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"Nothing of the state dict fits\.\n0 arrays taken: none"):
        pax.weights.load_partial(pax.Linear(2, 3), {"wieght": jnp.ones((2, 3))})
    pax.checkpoint.save(tmp_path, pax.Linear(2, 3))
    like = jax.eval_shape(lambda: pax.Linear(2, 4, rng_key=jax.random.key(0)))
    with pytest.raises(ValueError, match="Nothing of the checkpoint of step 0"):
        pax.checkpoint.load_partial(tmp_path, like)
    like = like.replace(weight=jax.ShapeDtypeStruct((2, 3), jnp.float32))
    with pytest.raises(ValueError, match="bias has no value"):
        pax.checkpoint.load_partial(tmp_path, like)


def test_adapters_are_put_beside_saved_weights():
    net = pax.Sequential(pax.Linear(2, 3))
    tuned, report = pax.weights.load_partial(pax.lora(net, 2), net.state_dict())
    assert report.missing == ("modules.0.lora_a", "modules.0.lora_b")
    assert tuned.modules[0].weight is net.modules[0].weight
