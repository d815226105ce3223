"""The dense layer of generative capsules: it computes each child's activation and pose from its parents'.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": capsules from wholes to parts.
Hinton, Krizhevsky, Wang (2011), "Transforming Auto-Encoders"; Sabour, Frosst, Hinton (2017), "Dynamic Routing
Between Capsules": activations, poses, and the votes between capsules.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GenerativeCapsules(nn.Module):
    r"""A dense layer between capsules, run in the generative direction: from wholes to parts.

    Parent k, present with activation :math:`a_k` in pose :math:`p_k`, asks child n to be present with strength
    :math:`g_{kn}` in pose :math:`v_{kn} = W_{kn} p_k + b_{kn}`. A child listens to its parents in proportion:

    .. math::
        a'_n = \sum_k a_k g_{kn}, \qquad
        p'_n = \frac{1}{a'_n} \sum_k a_k g_{kn} \left( W_{kn} p_k + b_{kn} \right)

    This is equation :eq:`eq-capsule-layer`. A child that no parent asks for (:math:`a'_n = 0`) has pose zero.
    There is no routing and no iteration: a whole determines its parts, so the layer is a matrix product. If every
    :math:`g_{kn} = 1` and the activations sum to one, it is exactly the reference's weighted sum of pose votes over
    the wholes.

    Parameters
    ----------
    parents, children : numbers of capsules, K and N
    parent_pose, child_pose : lengths of their poses, P and P′
    strengths : the :math:`g_{kn}`. ``None``: all are one; ``"learned"``: the sigmoid of a trained matrix; or
        a tensor (K, N) of finite values ≥ 0: fixed, with 0 where child n is not a part of parent k

    Attributes
    ----------
    weight : (K, N, P′, P), the :math:`W_{kn}`
    bias : (K, N, P′), the :math:`b_{kn}`

    Raises
    ------
    ValueError
        A size below 1, or any other strengths.
    """

    fixed_strengths: Tensor | None  # None if strengths are learned

    def __init__(
        self,
        parents: int,
        children: int,
        parent_pose: int,
        child_pose: int,
        strengths: Tensor | str | None = None,
    ) -> None:
        super().__init__()
        if min(parents, children, parent_pose, child_pose) < 1:
            raise ValueError("numbers of capsules and lengths of poses must be at least 1")
        self.weight = nn.Parameter(torch.empty(parents, children, child_pose, parent_pose))
        self.bias = nn.Parameter(torch.zeros(parents, children, child_pose))
        self.strength_logits: nn.Parameter | None = None
        fixed: Tensor | None = None
        if isinstance(strengths, str):
            if strengths != "learned":
                raise ValueError(f"strengths must be None, 'learned' or a (K, N) tensor; got {strengths!r}")
            self.strength_logits = nn.Parameter(torch.empty(parents, children))
        elif strengths is None:
            fixed = torch.ones(parents, children)
        else:
            fixed = torch.as_tensor(strengths, dtype=self.weight.dtype).detach().clone()  # the caller's may change
            if fixed.shape != (parents, children):
                raise ValueError(f"strengths must have shape ({parents}, {children}); got {tuple(fixed.shape)}")
            if not ((fixed >= 0) & fixed.isfinite()).all():
                raise ValueError(
                    f"strengths must be finite and at least 0; they run from {fixed.min():g} to {fixed.max():g}"
                )
        self.register_buffer("fixed_strengths", fixed)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, with the fans of the reference's dense layer P → K·N·P′.

        Biases become zero, and learned strengths a half.
        """
        parents, children, child_pose, parent_pose = self.weight.shape
        bound = (6 / (parent_pose + parents * children * child_pose)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.bias)
        if self.strength_logits is not None:
            nn.init.zeros_(self.strength_logits)

    @property
    def strengths(self) -> Tensor:
        """The :math:`g_{kn}`, (K, N)."""
        if self.strength_logits is not None:
            return self.strength_logits.sigmoid()
        assert self.fixed_strengths is not None
        return self.fixed_strengths

    def forward(self, activations: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (B, K) and poses (B, K, P) of the parents → (B, N) and (B, N, P′) of the children.

        Raises
        ------
        ValueError
            Wrong shapes, or an empty batch.
        """
        parents, _, _, parent_pose = self.weight.shape
        if activations.dim() != 2 or activations.shape[1] != parents or len(activations) == 0:
            raise ValueError(f"activations must have shape (B, {parents}), B ≥ 1; got {tuple(activations.shape)}")
        if poses.shape != (len(activations), parents, parent_pose):
            raise ValueError(
                f"poses must have shape ({len(activations)}, {parents}, {parent_pose}); got {tuple(poses.shape)}"
            )
        strengths = self.strengths
        child_activations = activations @ strengths  # (B,N)
        strengths = strengths[..., None]  # (K,N,1)
        # One matrix product sums over parents and pose entries.
        votes = torch.einsum("bkp,knqp->bnq", activations[..., None] * poses, strengths[..., None] * self.weight)
        votes = votes + torch.einsum("bk,knq->bnq", activations, strengths * self.bias)  # (B,N,P′)
        asked_for = child_activations[..., None] != 0
        return child_activations, votes / child_activations[..., None].where(asked_for, torch.ones_like(votes[..., :1]))
