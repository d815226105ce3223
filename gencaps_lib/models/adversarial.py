"""The adversarial autoencoder: a critic makes its latent codes fill a cube evenly.

References
----------
Makhzani, Shlens, Jaitly, Goodfellow (2015), "Adversarial Autoencoders"; Arjovsky, Chintala, Bottou (2017),
"Wasserstein GAN"; Gulrajani et al. (2017), "Improved Training of Wasserstein GANs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gencaps_lib.models.parts import LEAK, Autoencoder, Decoder

if TYPE_CHECKING:
    from gencaps_lib.tasks import Batch


class Critic(nn.Module):
    """A Wasserstein critic: it separates latent codes from samples of the prior, which is uniform on [-1, 1]^z.

    The loss is that of Arjovsky et al. (2017), with the gradient penalty of Gulrajani et al. (2017) at random points
    between a code and a sample; each pair has its own mixing weight.

    Parameters
    ----------
    z : length of the latent codes
    hidden : width of the two dense layers
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
        """Scores (B,) of codes (B, z); a high score means "a sample of the prior"."""
        return self.score(latent)[:, 0]

    def loss(self, latent: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The critic's loss on codes (B, z); no gradient flows to the encoder."""
        prior = torch.rand(latent.shape, generator=generator, device=latent.device) * 2 - 1
        mix = torch.rand(len(latent), 1, generator=generator, device=latent.device)  # one weight for each pair
        between = torch.lerp(prior, latent.detach(), mix).requires_grad_()
        (slope,) = torch.autograd.grad(self(between).sum(), between, create_graph=True)
        steepness = (slope.norm(dim=1) - 1).square().mean()
        return self(latent.detach()).mean() - self(prior).mean() + self.penalty * steepness


class AdversarialAutoencoder(Autoencoder):
    """An autoencoder with a critic, which makes the latent codes fill [-1, 1]^z evenly.

    Takes the arguments of `Autoencoder`, and `critic`, the sizes of its `Critic`. Idea: Makhzani et al. (2015).
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int, **critic) -> None:
        super().__init__(encoder, decoder, z, code_length)
        self.rival = Critic(z, **critic)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """To minimise, the squared error − the critic's mean score; to record, the squared error."""
        latent = self.encode_for(batch.images, batch.code)
        error = (self.decode(latent, batch.code) - batch.target).square().mean()
        return error - self.rival(latent).mean(), error.detach()
