"""Models so small that they train in seconds."""

from gencaps_lib.models import build as build_at

_SLIGHT = {"hidden": 32, "channels": 4, "maps": 4, "encoder": {"maps": (4, 8), "hidden": 32}}
_CAPSULES = {**_SLIGHT, "capsules": 8}
_COMPOSED = {"hidden": 32, "channels": 3, "capsules": 8, "encoder": _SLIGHT["encoder"]}
SIZES = {
    "autoencoder": _SLIGHT,
    "adversarial-autoencoder": {**_SLIGHT, "critic": {"hidden": 16}},
    "autoencoder-matched": _CAPSULES,
    "continuous-capsules": _CAPSULES,
    "changed-capsules": {**_CAPSULES, "gaussian": True, "relu": True, "linear": True, "still": True},
    "digit-capsules": {**_CAPSULES, "z": 16},
    "learned-addresses": _CAPSULES,
    "learned-addresses-pretrained": {**_CAPSULES, "steps": 20},
    "composed-capsules-map": _COMPOSED,
    "composed-capsules": _COMPOSED,
    "composed-capsules-known": _COMPOSED,
    "composed-capsules-linear": _COMPOSED,
    "composed-capsules-growing": _COMPOSED,
    "composed-capsules-oriented": _COMPOSED,
    "composed-capsules-balanced": _COMPOSED,
    "composed-capsules-groups": _COMPOSED,
    "composed-capsules-added": _COMPOSED,
    "linear-parts": _COMPOSED,
    "autoencoder-layers": _SLIGHT,
    "autoencoder-warp": _SLIGHT,
    "autoencoder-warp-generator": _SLIGHT,
    "autoencoder-warp-affine": _SLIGHT,
    "coordinate-decoder": {"hidden": 32, "width": 6, "encoder": _SLIGHT["encoder"]},
    "coordinate-decoder-generator": {"hidden": 32, "width": 6, "encoder": _SLIGHT["encoder"]},
    "spatial-broadcast": _SLIGHT,
}


def build(name, task, seed=0):
    """A small model of an architecture for a task."""
    return build_at(name, task, seed, **SIZES[name])
