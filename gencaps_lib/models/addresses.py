"""Learned addresses: each cell has a trained address, and a capsule writes to cells with addresses like its own.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": content-based addressing of all
cells, whose addresses need a preliminary training. The preliminary training below is ours.
Graves, Wayne, Danihelka (2014), "Neural Turing Machines": addressing by content, a softmax over the cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.models.parts import Decoder, Painter, bias_of


class LearnedAddresses(Decoder):
    r"""Capsules that write to the cells of all maps by content: only its learned address says where a cell is.

    Capsule n has the address :math:`q_n \ge 0` and writes :math:`a_n \ge 0`; cell j has the address :math:`k_j`:

    .. math::
        w_{nj} = \frac{\exp(q_n \cdot k_j)}{\sum_i \exp(q_n \cdot k_i)}, \qquad
        M_j = \Bigl[ \sum_n a_n w_{nj} \Bigr]_+

    Equation :eq:`eq-content`. The sum in the denominator runs over *all cells of all maps*, so an address also chooses
    a map.

    Parameters
    ----------
    z, code_length, side, maps, hidden, nonlinearity : as in `ContinuousCapsules`
    channels : number of feature maps C
    capsules : number of capsules N
    length : length of an address

    Attributes
    ----------
    cells : (C·S·S, length), the :math:`k_j`, map by map and row by row
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 128,
        maps: int = 64,
        hidden: int = 1024,
        capsules: int = 128,
        length: int = 4,
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__(side, Painter(channels, maps, nonlinearity))
        self.channels = channels
        self.dense = nn.Sequential(nn.Linear(z + code_length, hidden), nn.ReLU())
        self.address = self._address(hidden, capsules, length)
        self.activation = nn.Sequential(nn.Linear(hidden, capsules), nn.ReLU())
        self.cells = nn.Parameter(torch.empty(channels * self.size**2, length))
        self.reset_parameters()

    def _address(self, hidden: int, capsules: int, length: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(hidden, capsules * length), nn.Unflatten(1, (capsules, length)), nn.ReLU())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the cells' addresses from a normal distribution, and let every capsule start active."""
        nn.init.normal_(self.cells, generator=generator)
        # With the reference's zero bias, half of the ReLUs are off; a unit that is off for every digit learns nothing.
        nn.init.ones_(bias_of(self.activation[0]))

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Addresses (B, N, length) and activations (B, N) of the capsules."""
        hidden = self.dense(torch.cat([latent, code], 1))  # (B,hidden)
        return self.address(hidden), self.activation(hidden)

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        addresses, activations = self.write(latent, code)
        weights = (addresses @ self.cells.T).softmax(2)  # (B,N,C·S·S), over the cells
        written = (activations[:, None] @ weights)[:, 0].relu()  # (B,C·S·S)
        return written.unflatten(1, (self.channels, self.size, self.size))


class PretrainedAddresses(LearnedAddresses):
    r"""Learned addresses after a preliminary training of the addresses alone.

    Here the network computes three coordinates for each capsule: row, column and map, each from -1 to 1 over the cells.
    A dense layer and a ReLU, the pointer, turn them into an address q(u). The preliminary training uses no digits. It
    fits the pointer and the cells' addresses to each other: for places u drawn uniformly from all maps, cell j at
    :math:`c_j` should get the weight of the linear kernel:

    .. math::
        L = -\frac{1}{U} \sum_u \sum_j \kappa(u - c_j) \log w_j(q(u)), \qquad
        \kappa(d) = \prod_{i=1}^{3} [1 - |d_i|]_+

    Equation :eq:`eq-address-loss`. Then pointer and cells are fixed, and the rest of the network is trained. The model
    is told only that the cells form a lattice; gradient descent finds the addresses.

    Takes the arguments of `LearnedAddresses`, and

    Parameters
    ----------
    steps : steps of the preliminary training; ``fit`` makes them before its own
    batch : number of places drawn in each of these steps
    lr : peak of the learning rate in these steps
    """

    prepared: Tensor

    def __init__(
        self, z: int, code_length: int, side: int, steps: int = 2000, batch: int = 256, lr: float = 0.2, **sizes
    ) -> None:
        super().__init__(z, code_length, side, **sizes)
        self.steps, self.batch, self.lr = steps, batch, lr
        self.cells.requires_grad_(False)
        self.address[-2].requires_grad_(False)
        self.register_buffer("prepared", torch.tensor(False))

    def _address(self, hidden: int, capsules: int, length: int) -> nn.Sequential:
        coordinates = nn.Linear(hidden, capsules * 3), nn.Unflatten(1, (capsules, 3))
        return nn.Sequential(*coordinates, nn.Linear(3, length), nn.ReLU())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw initial values for the preliminary training; capsules start active, with places all over the maps."""
        super().reset_parameters(generator)
        layer = self.address[-2]
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(self.cells, std=0.1, generator=generator)
        nn.init.normal_(layer.weight, std=0.5, generator=generator)
        nn.init.constant_(layer.bias, 2.0)  # where the ReLU has a slope
        nn.init.uniform_(bias_of(self.address[0]), -1, 1, generator=generator)

    @property
    def pointer(self) -> nn.Sequential:
        """The layers that turn coordinates (…, 3) into addresses (…, length)."""
        return self.address[-2:]

    def lattice(self) -> Tensor:
        """The coordinates (C·S·S, 3) of the cells in index space: row, column and map, from 0."""
        steps = [torch.arange(count, device=self.cells.device) for count in (self.channels, self.size, self.size)]
        channel, row, column = torch.meshgrid(*steps, indexing="ij")
        return torch.stack([row, column, channel], -1).flatten(0, 2).to(self.cells.dtype)

    def address_loss(self, places: Tensor) -> Tensor:
        """The loss of the preliminary training at places (n, 3) in index space, see the class."""
        lattice = self.lattice()
        wanted = (1 - (places[:, None] - lattice).abs()).relu().prod(2)  # (n,C·S·S)
        scale = lattice.amax(0).clamp(min=1)  # the last row, column and map
        found = (self.pointer(2 * places / scale - 1) @ self.cells.T).log_softmax(1)  # over the cells
        return -(wanted * found).sum(1).mean()

    @torch.enable_grad()
    def prepare(self, generator: torch.Generator | None = None) -> None:
        """Make the preliminary training; a second call does nothing."""
        if self.prepared:
            return
        last = self.lattice().amax(0)
        trained = [self.cells, *self.pointer.parameters()]
        for parameter in trained:
            parameter.requires_grad_()
        optimiser = torch.optim.Adam(trained, self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.lr, total_steps=self.steps + 1, cycle_momentum=False
        )
        try:
            for _ in range(self.steps):
                places = torch.rand(self.batch, 3, generator=generator, device=last.device) * last
                optimiser.zero_grad(set_to_none=True)
                self.address_loss(places).backward()
                optimiser.step()
                schedule.step()
        finally:  # also if it is interrupted
            for parameter in trained:
                parameter.requires_grad_(False)
                parameter.grad = None
        self.prepared.fill_(True)


@torch.enable_grad()
def reach(cells: Tensor, most: float, steps: int = 300, lr: float = 0.1) -> Tensor:
    r"""The largest weight that a capsule can put on each cell, over all addresses that it can have.

    :math:`\max_q w_j(q)` over addresses q with entries between 0 and `most`. The logarithm of the weight is concave
    in q, so gradient ascent finds the maximum.

    Parameters
    ----------
    cells : (J, length), the cells' addresses
    most : upper bound of an address's entries
    steps, lr : steps and learning rate of the ascent; `lr` is relative to `most`

    Returns
    -------
    (J,), from 1/J or less (no address selects the cell) to 1
    """
    cells = cells.detach()
    address = torch.full_like(cells, most / 2).requires_grad_()
    optimiser = torch.optim.Adam([address], lr * most)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best = torch.zeros(len(cells), device=cells.device)
    for _ in range(steps):
        weights = (address @ cells.T).log_softmax(1).diagonal()
        best = torch.maximum(best, weights.detach().exp())
        optimiser.zero_grad(set_to_none=True)
        (-weights.sum()).backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            address.clamp_(0, most)
    return best
