"""The training loop and the reference's optimiser."""

import math
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import build

from gencaps_lib import results
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import EngineError, LocalEngine, engines
from gencaps_lib.results.jobs import Job
from gencaps_lib.tasks import draw_batch
from gencaps_lib.training import DivergedError, Optimiser, Trainer, capture, fit, loop
from gencaps_lib.training.optimisers import ReferenceRMSprop

ADAM = Optimiser("adam", 3e-3, "one-cycle")


def test_reference_rmsprop_by_hand():
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimiser = ReferenceRMSprop([weight], lr=0.1, decay=0.9, eps=1e-2)
    by_hand, mean_square = 2.0, 1.0  # the mean square starts at one
    for _ in range(5):
        optimiser.zero_grad()
        (weight**2).backward()
        optimiser.step()
        gradient = 2 * by_hand
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        by_hand -= 0.1 * gradient / math.sqrt(mean_square + 1e-2)  # ε inside the root
        assert weight.item() == pytest.approx(by_hand, abs=1e-12)


def test_rmsprop_calls_a_closure():
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = ReferenceRMSprop([weight])

    def closure():
        optimiser.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 2
    assert (weight < 1).all()


def test_reference_settings():
    experiment = EXPERIMENTS["shift-transfer"]
    optimiser = experiment.optimiser("autoencoder").make([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimiser, ReferenceRMSprop)
    assert optimiser.defaults == {"lr": 1e-3, "decay": 0.9, "eps": 1e-10}
    assert experiment.optimiser("autoencoder").rates(10) == [1e-3] * 10
    assert (experiment.steps, experiment.batch) == (100_000, 128)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("SGD", torch.optim.SGD)])
def test_any_torch_optimiser_by_name(name, kind):
    optimiser = Optimiser(name, 0.1, options={"weight_decay": 0.5}).make([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimiser) is kind
    assert optimiser.defaults["weight_decay"] == 0.5


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 100, 1203])
def test_one_cycle_is_torch_schedule_number_by_number(steps):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=steps + 1, pct_start=0.2, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert ADAM.rates(steps) == expected


def test_one_cycle_of_four_steps_starts_at_its_top():
    # The climb is no step long, and torch's scheduler divides by that.
    assert ADAM.rates(4)[0] == pytest.approx(3e-3)
    assert sorted(ADAM.rates(4), reverse=True) == ADAM.rates(4)


def test_a_step_uses_its_own_rate(task, digits):
    trainer = Trainer(build("autoencoder", task), task, digits, 5, optimiser=ADAM, batch=4)
    used = []
    trainer.optimiser.register_step_pre_hook(lambda optimiser, *_: used.append(optimiser.param_groups[0]["lr"]))
    for _ in range(5):
        trainer.step()
    assert used == ADAM.rates(5)


def test_reference_rmsprop_takes_a_tensor_as_rate(generator):
    start = torch.randn(50, generator=generator, dtype=torch.float64)
    one, other = (torch.nn.Parameter(start.clone()) for _ in range(2))
    by_number, by_tensor = ReferenceRMSprop([one], 0.1), ReferenceRMSprop([other], torch.tensor(0.1))
    for rate in (0.1, 0.5, 0.02):
        by_number.param_groups[0]["lr"] = rate
        by_tensor.param_groups[0]["lr"].copy_(torch.tensor(rate, dtype=torch.float64))
        for weight, optimiser in ((one, by_number), (other, by_tensor)):
            optimiser.zero_grad()
            (weight**4).sum().backward()
            optimiser.step()
    assert torch.allclose(one, other, rtol=1e-6)  # the tensor holds the rate in single precision
    assert (one - start).abs().mean() > 0.1


def test_a_rate_in_a_tensor_is_set_in_place(task, digits):
    """As on CUDA, where a captured step knows nothing but the tensor."""
    trainer = Trainer(build("autoencoder", task), task, digits, 5, optimiser=ADAM, batch=4)
    rate = trainer.optimiser.param_groups[0]["lr"] = torch.zeros(())
    used = []
    trainer.optimiser.register_step_pre_hook(lambda *_: used.append(rate.item()))
    for _ in range(5):
        trainer.step()
    assert used == pytest.approx(ADAM.rates(5))


@pytest.mark.parametrize("name", ["autoencoder", "adversarial-autoencoder"])
def test_a_step_records_its_loss_once(name, task, digits):
    expected = fit(build(name, task), task, digits, 4, batch=8, progress=False)
    trainer = Trainer(build(name, task), task, digits, 6, batch=8)
    for made in range(4):
        assert trainer.made.item() == made
        assert (trainer.losses[made:] == 0).all()
        trainer.step()
    assert trainer.losses.tolist() == [*expected, 0, 0]


def test_threads_take_turns_at_all_but_what_they_give_up():
    turns, log = capture.Turns(), []
    given, done = threading.Event(), threading.Event()

    def first():
        with turns.taken():
            log.append("first begins")
            with turns.given_up():
                given.set()
                assert done.wait(10)
            log.append("first goes on")

    def second():
        assert given.wait(10)
        with turns.taken():
            log.append("second")
        done.set()

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert log == ["first begins", "second", "first goes on"]


@pytest.fixture
def beside(digits):
    """An engine that makes two runs at once, as on a GPU, where alone they may be asked for."""
    engine = LocalEngine({"embedded": (digits, digits.first(10))}, progress=False)
    engine.capacity = 2
    yield engine
    engine.close()


def test_runs_side_by_side_are_what_each_is_alone(beside, digits):
    jobs = [Job("shift-transfer", "continuous-capsules", seed, "smoke") for seed in (0, 1)]
    for job in jobs:
        beside.start(job)
    made = dict(beside.finish() for _ in jobs)
    for job in jobs:
        alone, _ = results.run(job.entry, job.model, digits, digits.first(10), job.seed, progress=False)
        assert made[job].result.history == alone.history
        assert made[job].result.machine["at once"] == "2"


def test_a_finished_run_is_kept_when_another_one_has_stopped_the_gpu(beside, monkeypatch):
    def silent(device):
        raise EngineError("the GPU does not answer any more")

    job = Job("shift-transfer", "continuous-capsules", 0, "smoke")
    beside.start(job)
    for thread in beside._threads:
        thread.join()
    monkeypatch.setattr(engines, "_check_gpu", silent)
    assert beside.finish()[0] == job
    beside.start(job._replace(model="no such model"))
    with pytest.raises(EngineError):
        beside.finish()


@pytest.mark.filterwarnings("ignore:interrupted")
def test_closing_the_engine_ends_what_it_trains(beside, monkeypatch):
    job = Job("shift-transfer", "continuous-capsules", 0, "smoke")
    long = replace(job.entry, steps=1_000_000)
    monkeypatch.setattr(Job, "entry", property(lambda self: long))
    beside.start(job)
    beside.close()  # waits for its threads, and would do so for hours
    assert beside._ended.get() == (job, "interrupted")
    capture.turns.check()  # what trains afterwards is left alone


# What a GPU must do as the CPU does, on every kind of step that there is: with a rival, with a preparation, with a
# schedule, with rotations, with labels, and with pairs.
STEPS = [
    ("shift-transfer", "autoencoder", Optimiser(), "float32"),
    ("shift-transfer", "continuous-capsules", ADAM, "float32"),
    ("shift-transfer", "continuous-capsules", Optimiser(schedule="one-cycle"), "float32"),
    ("shift-extrapolation", "learned-addresses-pretrained", Optimiser("sgd", 1e-2, "one-cycle"), "float32"),
    ("rotation-transfer", "adversarial-autoencoder", Optimiser("adam", 1e-3), "float32"),
    ("rotation-transfer", "digit-capsules", ADAM, "float32"),
    ("rotation-one-shot", "composed-capsules", ADAM, "float32"),
    ("rotation-range", "capsnet", ADAM, "float32"),
    ("rotation-coarse-backwards", "capsules-backwards", ADAM, "float32"),
    ("rotation-extrapolation-bicubic", "autoencoder-warp-generator", ADAM, "float32"),
    ("rotation-range", "plain-classifier", Optimiser("adamw", 1e-3, "one-cycle"), "float32"),
    ("two-objects", "composed-capsules-groups", ADAM, "float32"),
    ("shift-transfer", "continuous-capsules", ADAM, "tf32"),
    ("shift-transfer", "continuous-capsules", ADAM, "bf16"),
]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine; the CPU makes the same step")


@NO_GPU
@pytest.mark.parametrize(("name", "model", "optimiser", "precision"), STEPS)
def test_a_captured_step_is_the_eager_one(name, model, optimiser, precision, digits):
    experiment = EXPERIMENTS[name].at("smoke")
    train = digits.of(*experiment.task.digits).to("cuda")
    histories, weights = [], []
    for captured in (False, True):
        built = experiment.build(model).to("cuda", memory_format=torch.channels_last)
        options = {"optimiser": optimiser, "batch": 32, "progress": False, "capture": captured}
        options |= {"growth": experiment.spec(model).growth, "precision": precision}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a step that cannot be captured
            histories.append(fit(built, experiment.task, train, 30, **options))
        weights.append(torch.cat([parameter.flatten() for parameter in built.parameters()]))
    # The same batches and rates; sums on a GPU may differ in their order.
    assert len(histories[1]) == 30
    assert len(set(histories[1])) == 30
    assert histories[1] == pytest.approx(histories[0], rel=1e-2)
    # Adam moves a weight with hardly a gradient by its whole rate, one way or the other. With TF32, two ordinary runs
    # on one H200 differed by 2 % of the weights' size, and in float32 by 1e-7.
    apart = (weights[0] - weights[1]).norm() / weights[0].norm()
    assert apart < (1e-1 if precision == "tf32" else 2e-2), f"they differ by {apart:.1e} of their size"


@NO_GPU
def test_on_cuda_several_runs_at_once_are_what_each_is_alone(digits):
    jobs = [
        Job("shift-transfer", model, seed, "smoke") for model in ("autoencoder", "digit-capsules") for seed in (0, 1)
    ]
    pairs = {"embedded": (digits.to("cuda"), digits.first(10).to("cuda"))}
    found = []
    for at_once in (1, 3):
        engine, made = LocalEngine(pairs, progress=False, at_once=at_once), {}
        for job in jobs:
            engine.start(job)
        for _ in jobs:
            job, outcome = engine.finish()
            assert not isinstance(outcome, str), outcome
            made[job] = outcome.result
        engine.close()
        found.append(made)
    for job in jobs:
        assert found[1][job].history == pytest.approx(found[0][job].history, rel=1e-2)
        assert found[1][job].curves[4] == pytest.approx(found[0][job].curves[4], rel=1e-2)


@NO_GPU
def test_a_step_that_cannot_be_captured_is_made_without_a_graph(task, digits):
    model = build("autoencoder", task).cuda()
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.mean().item()))
    with pytest.warns(UserWarning, match="without a CUDA graph"):
        history = fit(model, task, digits.to("cuda"), 10, batch=8, progress=False)
    expected = fit(build("autoencoder", task).cuda(), task, digits.to("cuda"), 10, batch=8, progress=False)
    assert history == pytest.approx(expected, rel=1e-3)
    assert len(seen) >= 10


def test_it_learns(task, digits):
    model = build("autoencoder", task)
    history = fit(model, task, digits, 150, optimiser=ADAM, progress=False)
    assert len(history) == 150
    assert not model.training
    assert sum(history[-10:]) < 0.6 * sum(history[:10])


def test_a_seed_fixes_the_run(task, digits):
    def run(seed):
        model = build("continuous-capsules", task)
        return fit(model, task, digits, 5, seed, progress=False), model.decoder.dense[0].weight

    torch.manual_seed(0)
    history, weight = run(0)
    torch.manual_seed(99)  # the global generator has no say
    again, same_weight = run(0)
    other, _ = run(1)
    assert history == again
    assert torch.equal(weight, same_weight)
    assert history != other


def test_the_global_generator_is_left_alone(task, digits):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    fit(build("autoencoder", task), task, digits, 2, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_batches_show_each_digit_its_own_range(task, digits, generator):
    batch = draw_batch(task, digits, 2000, generator)
    offsets = (batch.code * task.transform.margin).round().long()
    drawn = [(digits.images == image).flatten(1).all(1).nonzero()[0, 0] for image in batch.images[:100]]
    assert torch.equal(batch.labels[:100], digits.labels[drawn])
    for label, offset in zip(batch.labels.tolist(), offsets.tolist(), strict=True):
        assert offset == [0, 0] if label in (4, 9) else max(map(abs, offset)) <= 2
    assert offsets.unique().tolist() == [-2, -1, 0, 1, 2]
    assert torch.equal(batch.target, task.target(batch.images, offsets))


def test_transforms_grow_to_each_digit_s_own_range(digits):
    """From a quarter of it; a digit that is seen at one angle only is never seen at another."""
    one_shot = EXPERIMENTS["rotation-one-shot"].at("smoke").task
    steps = 40
    trainer = Trainer(build("autoencoder", one_shot), one_shot, digits, steps, batch=400, growth=0.5)
    widest = []
    for step in range(steps):
        trainer.made.fill_(step)
        batch = trainer.draw()
        angles = one_shot.transform.parameters(batch.code)[:, 0].rad2deg()
        shown_once = (batch.labels == 4) | (batch.labels == 9)
        assert torch.allclose(angles[shown_once], torch.tensor(18.0), atol=1e-3)
        assert torch.allclose(batch.target, one_shot.target(batch.images, angles[:, None]), atol=1e-3)
        widest.append(angles[~shown_once].abs().max().item())
    reach = [180 * min(max(step / 39 / 0.5, 0.25), 1) for step in range(steps)]
    assert all(0.9 * most < angle <= most + 1e-3 for angle, most in zip(widest, reach, strict=True))
    assert widest[0] < 46
    assert min(widest[20:]) > 170


GROWING = [
    "composed-capsules",
    "composed-capsules-oriented",
    "composed-capsules-linear",
    "autoencoder-warp-generator",
    "coordinate-decoder-generator",
]


def test_an_experiment_lets_transforms_grow(digits, monkeypatch):
    """What the registry says of a model reaches the batches of its run."""
    experiment = EXPERIMENTS["rotation-one-shot"].at("smoke")
    experiment = replace(experiment, task=replace(experiment.task, seen=((-180, 180),) * 10), steps=3)
    assert [name for name, spec in experiment.specs.items() if spec.growth] == GROWING
    seen = []
    draw = loop.draw_batch
    monkeypatch.setattr(loop, "draw_batch", lambda *args: seen.append(draw(*args)) or seen[-1])
    for name, most in (("composed-capsules", 46), ("composed-capsules-map", 181)):
        seen.clear()
        results.run(experiment, name, digits, digits.first(1), progress=False)
        angles = experiment.task.transform.parameters(seen[0].code).rad2deg().abs()
        assert most / 2 < angles.max() < most


def test_a_model_may_bring_its_own_loss(task, digits):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.zeros(()))

        def loss(self, batch):
            error = (self.value - batch.labels.float().mean()).square()
            return error, error.detach() + 100

    model = Mean()
    history = fit(model, task, digits, 60, optimiser=Optimiser("sgd", 0.1), progress=False)
    assert model.value.item() == pytest.approx(digits.labels.float().mean().item(), abs=0.3)
    assert min(history) >= 100  # it records what the model says


def test_a_rival_is_trained_by_its_own_optimiser_for_its_own_steps(task, digits):
    model = build("adversarial-autoencoder", task)
    scored = []
    model.rival.register_forward_hook(lambda module, inputs, output: scored.append(len(output)))
    weights = [layer.weight for layer in model.rival.score if hasattr(layer, "weight")]
    before = [weight.detach().clone() for weight in weights]
    history = fit(model, task, digits, 2, batch=16, progress=False)
    # Each of its 5 steps scores the points between, the codes and the prior; each step of the model scores the codes.
    assert len(scored) == 2 * (5 * 3 + 1)
    assert all(not torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    assert all(0 < loss < 2 for loss in history)


def test_a_rival_can_have_an_optimiser_of_its_own(task, digits):
    model = build("adversarial-autoencoder", task)
    before = [weight.detach().clone() for weight in model.rival.parameters()]
    fit(model, task, digits, 2, batch=16, progress=False, rival_optimiser=Optimiser("sgd", 1e-30))
    torch.testing.assert_close(before, list(model.rival.parameters()), rtol=0, atol=1e-20)


def test_the_critic_pushes_codes_into_the_cube(task, digits):
    free, pushed = build("autoencoder", task), build("adversarial-autoencoder", task)
    for model in (free, pushed):
        fit(model, task, digits, 60, optimiser=Optimiser("adam", 3e-3), batch=32, progress=False)
    with torch.no_grad():
        outside = [(model.encode(digits.images).abs() > 1.5).float().mean().item() for model in (free, pushed)]
    assert outside[1] < 0.5 * outside[0]


def test_a_loss_that_is_not_finite_stops_with_its_step(task, digits):
    model = build("autoencoder", task)
    calls = []

    def spoil(module, inputs, output):
        calls.append(1)
        return output * float("nan") if len(calls) == 4 else output

    model.register_forward_hook(spoil)
    with pytest.raises(DivergedError, match="step 3") as stop:
        fit(model, task, digits, 10, progress=False)
    assert stop.value.step == 3
    assert len(stop.value.history) == 3
    assert len(calls) == 4
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_interrupting_keeps_what_was_learned(task, digits):
    model = build("autoencoder", task)
    before = model.encoder[0].weight.clone()

    def interrupt(module, inputs, output, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    model.register_forward_hook(interrupt)
    with pytest.warns(UserWarning, match="3 of 10 steps"):
        history = fit(model, task, digits, 10, progress=False)
    assert len(history) == 3
    assert not torch.equal(model.encoder[0].weight, before)


def test_progress_bar_shows_the_running_loss(task, digits, capsys, monkeypatch):
    class Bar(loop.tqdm):
        def __init__(self, **options):
            super().__init__(**{**options, "mininterval": 0})

    monkeypatch.setattr(loop, "tqdm", Bar)
    history = fit(build("autoencoder", task), task, digits, 3)
    shown = capsys.readouterr().err
    assert f"loss={history[0]:.4f}" in shown
    assert "2/3" in shown
    fit(build("autoencoder", task), task, digits, 3, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model, task, digits: fit(model, task, digits, 0), "steps must be"),
        (lambda model, task, digits: fit(model, task, digits, 1.5), "steps must be"),
        (lambda model, task, digits: fit(model, task, digits, 1, batch=0), "batch must be"),
        (lambda model, task, digits: fit(model, task, digits, 1, growth=1.5), "growth must be a share"),
        (lambda model, task, digits: fit(model, task, digits, 1, batch=8, draws=3), "a batch of 8 and 3 draws"),
        (lambda model, task, digits: fit(model, task, digits.first(0), 1), "no digits"),
        (
            lambda model, task, digits: fit(
                model, task, digits, 1, rival_optimiser=Optimiser("adam", schedule="one-cycle")
            ),
            "the rival's rate must be constant",
        ),
        (lambda model, task, digits: fit(model, task, digits, 1, capture=True), "only a step on CUDA"),
        (lambda model, task, digits: Optimiser("adamant"), "unknown optimiser"),
        (lambda model, task, digits: Optimiser("LBFGS"), "'LBFGS' computes the loss several times a step"),
        (lambda model, task, digits: Optimiser("SparseAdam"), "'SparseAdam' takes sparse gradients only"),
        (lambda model, task, digits: Optimiser(schedule="cosine"), "unknown schedule"),
        (lambda model, task, digits: Optimiser(lr=-1.0), "learning rate"),
    ],
)
def test_bad_input_gets_one_clear_error(call, complaint, task, digits):
    with pytest.raises(ValueError, match=complaint):
        call(build("autoencoder", task), task, digits)


def test_numpy_s_whole_numbers_are_whole_numbers(task, digits):
    expected = fit(build("autoencoder", task), task, digits, 2, 1, batch=4, progress=False)
    found = fit(build("autoencoder", task), task, digits, np.int64(2), np.int64(1), batch=np.int32(4), progress=False)
    assert found == expected


@pytest.mark.parametrize(("value", "hidden"), [("0", False), ("", False), ("1", True)])
def test_the_environment_can_hide_the_bar(value, hidden, task, digits, monkeypatch):
    seen = []
    bar = loop.tqdm
    monkeypatch.setattr(loop, "tqdm", lambda **options: seen.append(options["disable"]) or bar(**options))
    monkeypatch.setenv("TQDM_DISABLE", value)
    fit(build("autoencoder", task), task, digits, 1, batch=4)
    assert seen == [hidden]


def test_an_image_can_be_drawn_under_several_transforms(task, digits, generator):
    batch = draw_batch(task, digits, 12, generator, draws=4)
    assert (len(batch.images), len(batch.labels), len(batch.code), len(batch.target)) == (3, 12, 12, 12)
    assert batch.labels.tolist() == batch.labels[::4].repeat_interleave(4).tolist()
    model = build("autoencoder", task)
    with torch.no_grad():
        together = model(batch.images, batch.code)
        one_by_one = model(batch.images.repeat_interleave(4, 0), batch.code)
    assert torch.allclose(together, one_by_one, atol=1e-6)
    values = batch.code[:4] * task.transform.margin
    assert torch.equal(batch.target[:4], task.target(batch.images[:1].expand(4, -1, -1, -1), values.round().long()))


@pytest.mark.parametrize(
    ("batch", "draws", "complaint"),
    [
        (10, 3, "the batch must be a multiple of draws; got a batch of 10 and 3 draws"),
        (2, 4, "a batch of 2 and 4 draws"),
        (0, 1, "batch must be a whole number of at least 1; got 0"),
        (8, 0, "draws must be a whole number of at least 1; got 0"),
        (8.0, 1, "batch must be a whole number"),
        (8, True, "draws must be a whole number"),
    ],
)
def test_a_batch_that_draws_cannot_make_is_refused(batch, draws, complaint, task, digits, generator):
    """By the trainer, too, which draws it."""
    with pytest.raises(ValueError, match=complaint):
        draw_batch(task, digits, batch, generator, draws=draws)
    with pytest.raises(ValueError, match=complaint):
        Trainer(build("autoencoder", task), task, digits, 1, batch=batch, draws=draws).step()
    with pytest.raises(ValueError, match=complaint):
        fit(build("autoencoder", task), task, digits, 1, batch=batch, draws=draws)


@pytest.mark.parametrize("name", ["shift-transfer", "rotation-range"])
def test_several_draws_train_every_kind_of_model(name, digits):
    experiment = EXPERIMENTS[name].at("smoke")
    for model in experiment.models[:2]:
        history = fit(experiment.build(model), experiment.task, digits, 2, batch=8, draws=4, progress=False)
        assert len(history) == 2


def test_what_a_wrapper_passes_on_is_the_model_s(task, digits):
    """As that of torch.compile does: loss, preparation and rival are found behind it."""

    class Wrapper(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.inner = model

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self._modules["inner"], name)

    plain, wrapped = (build("adversarial-autoencoder", task) for _ in range(2))
    expected = fit(plain, task, digits, 3, batch=8, progress=False)
    assert fit(Wrapper(wrapped), task, digits, 3, batch=8, progress=False) == expected
    assert all(map(torch.equal, plain.rival.parameters(), wrapped.rival.parameters()))
