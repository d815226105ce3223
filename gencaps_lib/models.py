"""The models of the book: one encoder, and decoders that differ in how the transform's code reaches the image.

The encoder sees the untransformed image, (B,1,28,28), and gives a latent code z. A decoder is given z and the code of
a transform, and draws the transformed image. Only the middle of a decoder differs between models: what turns
[z, code] into feature maps. The painter that turns maps into an image is alike in all.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the architectures.
Glorot, Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks": the weights at
the start.
Makhzani, Shlens, Jaitly, Goodfellow (2015), "Adversarial Autoencoders"; Arjovsky, Chintala, Bottou (2017),
"Wasserstein GAN"; Gulrajani et al. (2017), "Improved Training of Wasserstein GANs": the critic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gencaps_lib.capsules import GenerativeCapsules
from gencaps_lib.routing import route_by_address, to_index_space
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import check_images

if TYPE_CHECKING:
    from gencaps_lib.training import Batch

LEAK = 0.1  # negative slope of every leaky ReLU of the reference
NONLINEARITIES = {"relu": nn.ReLU, "leaky-relu": lambda: nn.LeakyReLU(LEAK)}


class Encoder(nn.Sequential):
    """Two convolutions and two dense layers: images (B, 1, 28, 28) → latent (B, z).

    Parameters
    ----------
    z : length of the latent code
    maps : feature maps of the two convolutions (kernel 4, stride 2)
    hidden : width of the dense layer
    """

    def __init__(self, z: int, maps: tuple[int, int] = (64, 128), hidden: int = 1024) -> None:
        super().__init__(
            nn.Conv2d(1, maps[0], 4, stride=2, padding=1),  # (B,maps0,14,14)
            nn.LeakyReLU(LEAK),
            nn.Conv2d(maps[0], maps[1], 4, stride=2, padding=1),  # (B,maps1,7,7)
            nn.LeakyReLU(LEAK),
            nn.Flatten(),
            nn.Linear(maps[1] * 49, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, z),
        )


class Painter(nn.Sequential):
    """Two transposed convolutions (kernel 4, stride 2): maps (B, C, S, S) → image (B, 1, 4S, 4S) in (-1, 1)."""

    def __init__(self, channels: int, maps: int, nonlinearity: str = "relu") -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, maps, 4, stride=2, padding=1),  # (B,maps,2S,2S)
            NONLINEARITIES[nonlinearity](),
            nn.ConvTranspose2d(maps, 1, 4, stride=2, padding=1),  # (B,1,4S,4S)
            nn.Tanh(),
        )


class Decoder(nn.Module):
    """A decoder: ``maps(latent, code)``, which each model has its own way of computing, and a painter."""

    def __init__(self, side: int, channels: int, maps: int, nonlinearity: str) -> None:
        super().__init__()
        if side % 4:
            raise ValueError(f"the image's side must be a multiple of 4, for the painter doubles it twice; got {side}")
        self.size = side // 4  # side S of the feature maps
        self.paint = Painter(channels, maps, nonlinearity)

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        """Feature maps (B, C, S, S) for latent (B, z) and code (B, code_length)."""
        raise NotImplementedError

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        """The image (B, 1, 4S, 4S)."""
        return self.paint(self.maps(latent, code))


class ConvDecoder(Decoder):
    """The autoencoder's decoder: dense layers compute the feature maps, each cell by weights of its own.

    Parameters
    ----------
    z, code_length : lengths of the latent code and of the transform's code
    side : side of the image, a multiple of 4
    channels, maps : feature maps that the dense layers fill, and between the painter's two layers
    hidden : width of the first dense layer
    nonlinearity : between the painter's two layers
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 256,
        maps: int = 128,
        hidden: int = 1024,
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__(side, channels, maps, nonlinearity)
        self.dense = nn.Sequential(
            nn.Linear(z + code_length, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels * self.size**2),
            nn.ReLU(),
            nn.Unflatten(1, (channels, self.size, self.size)),
        )

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        return self.dense(torch.cat([latent, code], 1))


class CapsuleDecoder(Decoder):
    """A decoder whose maps are written by capsules: ``write`` says where each writes, and what."""

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Addresses (B, N, 2) in index space and activations (B, N, C) of the capsules."""
        raise NotImplementedError

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        addresses, activations = self.write(latent, code)
        return route_by_address(addresses, activations, self.size)


class ContinuousCapsules(CapsuleDecoder):
    """Capsules addressed straight from the continuous code: no digit capsules, no parents.

    Parameters
    ----------
    z, code_length, side, maps, nonlinearity : as in `ConvDecoder`
    channels : feature maps C that a capsule writes to
    hidden : width of the dense layer
    capsules : number of capsules N
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 32,
        maps: int = 16,
        hidden: int = 1024,
        capsules: int = 128,
        nonlinearity: str = "leaky-relu",
    ) -> None:
        super().__init__(side, channels, maps, nonlinearity)
        self.dense = nn.Sequential(nn.Linear(z + code_length, hidden), nn.ReLU())
        self.address = nn.Sequential(nn.Linear(hidden, capsules * 2), nn.Unflatten(1, (capsules, 2)))
        self.activation = nn.Sequential(
            nn.Linear(hidden, capsules * channels), nn.Sigmoid(), nn.Unflatten(1, (capsules, channels))
        )

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.dense(torch.cat([latent, code], 1))  # (B,hidden)
        return to_index_space(self.address(hidden), self.size), self.activation(hidden)  # (B,N,2), (B,N,C)


class PerCapsuleLinear(nn.Module):
    """A dense layer for each capsule, with weights of its own: (B, N, in) → (B, N, out)."""

    def __init__(self, capsules: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(capsules, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(capsules, outputs))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Glorot-uniform weights, each capsule's layer by its own fans; zero biases."""
        for weight in self.weight:
            nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("bni,nio->bno", inputs, self.weight) + self.bias


class DigitCapsules(CapsuleDecoder):
    """Digit capsules, whose parts write on the maps: latent → primary capsules → parts → addresses.

    The first `parents` latent values become, by a softmax over them, the activations of the primary capsules; the
    others and the transform's code are their shared pose. A dense layer of generative capsules gives the
    parts' activations and poses, and two small networks of each part's own turn its pose into an address and into
    activations on the maps, which the part's activation scales.

    Parameters
    ----------
    z, code_length, side, channels, maps, nonlinearity : as in `ContinuousCapsules`
    parents : number of primary capsules K, one for each digit; less than z
    capsules : number of parts N
    pose : length of a part's pose
    hidden : width of each part's networks
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 32,
        maps: int = 32,
        hidden: int = 128,
        capsules: int = 20,
        pose: int = 10,
        parents: int = 10,
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__(side, channels, maps, nonlinearity)
        if z <= parents:
            raise ValueError(f"z must exceed the number of primary capsules, {parents}; got {z}")
        self.parents = parents
        self.parts = GenerativeCapsules(parents, capsules, z - parents + code_length, pose)
        self.address = nn.Sequential(
            PerCapsuleLinear(capsules, pose, hidden), nn.ReLU(), PerCapsuleLinear(capsules, hidden, 2)
        )
        self.activation = nn.Sequential(
            PerCapsuleLinear(capsules, pose, hidden),
            nn.ReLU(),
            PerCapsuleLinear(capsules, hidden, channels),
            nn.Sigmoid(),
        )

    def primary(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (B, K) and poses (B, K, P) of the primary capsules; they share one pose."""
        categories, shared = latent.split([self.parents, latent.shape[1] - self.parents], 1)
        pose = torch.cat([shared, code], 1)  # (B,P)
        activations = categories.softmax(1)  # over the primary capsules
        return activations, pose[:, None].expand(-1, self.parents, -1)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        presence, poses = self.parts(*self.primary(latent, code))  # (B,N), (B,N,pose)
        activations = presence[..., None] * self.activation(poses)  # (B,N,C)
        return to_index_space(self.address(poses), self.size), activations


class Autoencoder(nn.Module):
    """An encoder and a decoder that is told the transform.

    Parameters
    ----------
    encoder : images (B, 1, 28, 28) → latent (B, z)
    decoder : latent (B, z), code (B, code_length) → image (B, 1, side, side)
    z, code_length : the lengths, for checking what comes in
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.z = z
        self.code_length = code_length

    def encode(self, images: Tensor) -> Tensor:
        """Latent code (B, z) of untransformed images (B, 1, 28, 28) in [-1, 1]."""
        check_images(images)
        if images.shape[2:] != (28, 28):
            raise ValueError(f"the encoder sees images of 28×28 pixels; got {tuple(images.shape)}")
        return self.encoder(images)

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """Image (B, 1, side, side) of a latent code (B, z) under a transform's code (B, code_length)."""
        for name, given, length in (("latent", latent, self.z), ("code", code, self.code_length)):
            if given.dim() != 2 or given.shape[1] != length or len(given) == 0:
                raise ValueError(f"{name} must have shape (B, {length}), B ≥ 1; got {tuple(given.shape)}")
        if len(latent) != len(code):
            raise ValueError(f"latent and code must be as many; got {len(latent)} and {len(code)}")
        return self.decoder(latent, code)

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """Reconstruct images (B, 1, 28, 28) under the transform of code (B, code_length)."""
        return self.decode(self.encode(images), code)


class Critic(nn.Module):
    """A Wasserstein critic: it tells latent codes from samples of the prior, uniform on [-1, 1]^z.

    Its loss is that of Arjovsky et al. (2017) with the gradient penalty of Gulrajani et al. (2017), which is taken at
    points between a code and a sample, each pair with a mixing weight of its own.

    Parameters
    ----------
    z : length of the codes
    hidden : width of its two dense layers
    steps : steps of the critic before each step of the model
    penalty : weight of the gradient penalty
    """

    def __init__(self, z: int, hidden: int = 1024, steps: int = 5, penalty: float = 10.0) -> None:
        super().__init__()
        self.steps = steps
        self.penalty = penalty
        self.score = nn.Sequential(
            nn.Linear(z, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, 1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Scores (B,) of codes (B, z); high where the critic takes them for samples of the prior."""
        return self.score(latent)[:, 0]

    def loss(self, latent: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The critic's loss on codes (B, z), which carry no gradient to the encoder."""
        prior = torch.rand(latent.shape, generator=generator, device=latent.device) * 2 - 1
        mix = torch.rand(len(latent), 1, generator=generator, device=latent.device)  # one for each pair
        between = torch.lerp(prior, latent.detach(), mix).requires_grad_()
        (slope,) = torch.autograd.grad(self(between).sum(), between, create_graph=True)
        steepness = (slope.norm(dim=1) - 1).square().mean()
        return self(latent.detach()).mean() - self(prior).mean() + self.penalty * steepness


class AdversarialAutoencoder(Autoencoder):
    """An autoencoder whose codes are pushed, by a critic, to fill [-1, 1]^z evenly.

    Takes the arguments of `Autoencoder`, and `critic`, the sizes of its `Critic`. Makhzani et al. (2015): the idea.
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int, **critic) -> None:
        super().__init__(encoder, decoder, z, code_length)
        self.rival = Critic(z, **critic)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The squared error plus the critic's verdict, to minimise; the squared error alone, to record."""
        latent = self.encode(batch.images)
        error = (self.decode(latent, batch.code) - batch.target).square().mean()
        return error - self.rival(latent).mean(), error.detach()


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def layer_table(model: nn.Module, *inputs: Tensor) -> list[tuple[str, str, tuple[int, ...], int]]:
    """The layers with parameters, in the order in which ``model(*inputs)`` calls them.

    Returns
    -------
    for each, its name, its kind, the shape of its output without the batch, and its number of parameters
    """
    rows: list[tuple[str, str, tuple[int, ...], int]] = []

    def watch(name: str) -> Callable:
        def note(layer: nn.Module, _: object, output: Tensor) -> None:
            rows.append((name, type(layer).__name__, tuple(output.shape[1:]), count_parameters(layer)))

        return note

    layers = [(name, layer) for name, layer in model.named_modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers if count_parameters(layer)]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def matched_decoder(z: int, code_length: int, side: int, **capsule_sizes) -> ConvDecoder:
    """The autoencoder's decoder with as many parameters as `ContinuousCapsules` of the same sizes.

    It has the capsules' painter and as many feature maps; only the width of its dense layer is solved for, so that
    what differs is how the maps are computed. Takes the arguments of `ContinuousCapsules`.
    """
    with torch.device("meta"):  # counts, without memory or random numbers
        capsules = ContinuousCapsules(z, code_length, side, **capsule_sizes)
        channels, maps = capsules.paint[0].in_channels, capsules.paint[0].out_channels
        nonlinearity = capsule_sizes.get("nonlinearity", "leaky-relu")
        narrow, wide = (ConvDecoder(z, code_length, side, channels, maps, hidden, nonlinearity) for hidden in (1, 2))
    fixed = count_parameters(narrow)
    per_unit = count_parameters(wide) - fixed
    hidden = 1 + round((count_parameters(capsules) - fixed) / per_unit)
    return ConvDecoder(z, code_length, side, channels, maps, max(hidden, 1), nonlinearity)


DECODERS: dict[str, Callable[..., Decoder]] = {
    "autoencoder": ConvDecoder,
    "adversarial-autoencoder": partial(ConvDecoder, channels=128, maps=64),
    "autoencoder-matched": matched_decoder,
    "continuous-capsules": ContinuousCapsules,
    "digit-capsules": DigitCapsules,
}


def build(name: str, task: Task, seed: int = 0) -> Autoencoder:
    """Build a model by name, at the sizes that the task gives it.

    Parameters
    ----------
    name : one of `DECODERS`, or a name for which the task's sizes say which of them it is, as ``architecture``
    task : what it will be trained on: it sets the image's side, the code's length and the sizes
    seed : of the weights; the global generator is left alone

    Raises
    ------
    ValueError
        An unknown name.
    """
    sizes = dict(task.sizes.get(name, {}))
    architecture = sizes.pop("architecture", name)
    if architecture not in DECODERS:
        raise ValueError(f"unknown model {name!r}: choose one of {', '.join(DECODERS)}")
    z = sizes.pop("z", 10)
    encoder_sizes = dict(sizes.pop("encoder", {}))
    critic_sizes = dict(sizes.pop("critic", {}))
    code_length = task.transform.code_length
    # PyTorch's layers draw their first weights from the global generator; they are drawn again below.
    with torch.random.fork_rng(devices=[]):
        parts = Encoder(z, **encoder_sizes), DECODERS[architecture](z, code_length, task.transform.side, **sizes)
        if architecture == "adversarial-autoencoder":
            model = AdversarialAutoencoder(*parts, z, code_length, **critic_sizes)
        else:
            model = Autoencoder(*parts, z, code_length)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, (GenerativeCapsules, PerCapsuleLinear)):
            module.reset_parameters(generator)
    return model
