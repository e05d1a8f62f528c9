"""The selector against plain integers, its controller's bounds, and the oracle."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.selector.candidates import ERROR_MAX, Blocks, Candidate, describe_blocks, relative_error
from golden.selector.selector import INFEASIBLE, Registers, Selector, block_costs, table_cycles
from golden.selector.table import BINS, DENSITIES, PerformanceTable, Point, density_bin
from golden.shape import ArrayShape
from tests.golden.plans import BY_NUMBER
from tests.golden.selector.oracle import best_choices, exact_costs

SHAPES = ((16, 8), (64, 5))
CANDIDATES = (
    Candidate("bitmap"),
    Candidate("dense"),
    Candidate("nm", 3),
    Candidate("block"),
    Candidate("bitmap", 4),
)
ARRAY = ArrayShape(
    lanes=4,
    engines=4,
    group=2,
    k_tile=64,
    columns=8,
    activation_tiles=2,
    index_words=256,
    value_words=256,
    queue=8,
    data_bits=64,
    kernels=STORED,
    mac="packed",
)


def slots(kernel: str, depth: int, columns: int, step: int) -> int:
    """Decoder cycles of a block whose non-zeros are dealt to its columns evenly."""
    size = depth * columns
    count = int(size * DENSITIES[step])
    if kernel == "dense":
        return size
    if kernel == "nm":
        return size // 2
    return max(columns, count)


@pytest.fixture(scope="module")
def table() -> PerformanceTable:
    points = [
        Point(
            kernel=kernel,
            depth=depth,
            columns=columns,
            step=step,
            feasible=True,
            blocks=4,
            cycles=4 * slots(kernel, depth, columns, step),
            events=4 * 4 * int(depth * columns * DENSITIES[step]),
            weight_bytes=400,
        )
        for kernel in STORED
        for depth, columns in SHAPES
        for step in range(BINS)
    ]
    return PerformanceTable(
        config_hash="0" * 64,
        source="invented",
        tools={},
        seed=0,
        lanes=4,
        engines=4,
        points=tuple(points),
    )


def random_weights(rng: np.random.Generator, number: int) -> list[np.ndarray]:
    """Blocks of all densities and magnitudes, empty and full ones among them."""
    blocks = []
    for _ in range(number):
        depth, columns = SHAPES[rng.integers(len(SHAPES))]
        high = int(rng.choice([1, 3, 20, 128]))
        block = rng.integers(-high, high, (depth, columns), endpoint=False)
        block[rng.random(block.shape) < rng.choice([0, 0.5, 0.9, 1])] = 0
        blocks.append(block.astype(np.int8))
    return blocks


def log_histogram(block: np.ndarray) -> list[int]:
    bins = [0] * 9
    for value in block.reshape(-1):
        bins[abs(int(value)).bit_length()] += 1
    return bins


def describe(table: PerformanceTable, weights: list[np.ndarray], rng) -> Blocks:
    return describe_blocks(
        table,
        CANDIDATES,
        np.array([SHAPES.index(block.shape) for block in weights]),
        np.array([log_histogram(block) for block in weights]),
        np.array([KERNELS["block"]().column_cycles(block != 0).sum() for block in weights]),
        rng.random((len(weights), len(CANDIDATES))) < 0.15,
    )


class NaiveSelector:
    """The definition, one block and one candidate at a time, in Python's integers."""

    def __init__(self, table: PerformanceTable, regs: Registers, shift: int, gain: int) -> None:
        self.table, self.regs, self.shift, self.gain = table, regs, shift, gain
        self.states = [(regs.alpha, regs.beta)] * 2
        self.error_sum = 0

    def cost(self, blocks: Blocks, row: int, number: int, alpha: int, beta: int) -> int:
        if blocks.empty[row]:
            return 0
        kernel = BY_NUMBER[int(blocks.kernels[number])]
        place, count = int(blocks.bin[row, number]), int(blocks.count[row, number])
        line = self.table.cost(kernel, place, self.table.shapes[blocks.shape[row]])
        if blocks.infeasible[row, number] or not line.feasible:
            return 2**48 - 1
        cycles = max(0, min(2**24 - 1, (line.base + line.slope * count) // 256))
        return alpha * int(blocks.error[row, number]) // 256 + beta * cycles * 256

    def step(self, blocks: Blocks, row: int) -> tuple[int, int, int]:
        alpha, beta = self.states[-2]
        best, least = 0, None
        for number in range(blocks.count.shape[1]):
            cost = self.cost(blocks, row, number, alpha, beta)
            if least is None or cost < least:
                best, least = number, cost
        assert least is not None
        error = 0 if blocks.empty[row] else int(blocks.error[row, best])
        self.adapt(error)
        return best, least, error

    def adapt(self, error: int) -> None:
        regs = self.regs
        alpha, beta = self.states[-1]
        self.error_sum = self.error_sum - self.error_sum // 2**self.shift + error
        up, down = max(1, alpha // 2**self.gain), max(1, beta // 2**self.gain)
        if regs.adapt:
            if self.error_sum // 2**self.shift > regs.budget:
                if alpha < regs.alpha_max:
                    alpha = min(regs.alpha_max, alpha + up)
                else:
                    beta = max(regs.beta_min, beta - down)
            elif beta < regs.beta:
                beta = min(regs.beta, beta + down)
            else:
                alpha = max(regs.alpha, alpha - up)
        self.states.append((alpha, beta))


REGISTERS = (
    Registers(),
    Registers(alpha=0, beta=0xFFFF, beta_min=100, budget=0),
    Registers(alpha=1, beta=2, alpha_max=3, budget=300),
    Registers(alpha=40_000, beta=20, alpha_max=40_000, beta_min=1, budget=2000),
    Registers(alpha=300, beta=5, budget=0, adapt=False),
)


@pytest.mark.parametrize("registers", REGISTERS)
@pytest.mark.parametrize(("shift", "gain"), [(1, 1), (6, 4), (12, 15)])
def test_selector_is_its_definition(table, registers, shift: int, gain: int, rng):
    blocks = describe(table, random_weights(rng, 300), rng)
    selector = Selector(table, registers, shift, gain)
    choice = selector.run(blocks)
    naive = NaiveSelector(table, registers, shift, gain)
    expected = [naive.step(blocks, row) for row in range(300)]
    found = zip(choice.candidate.tolist(), choice.cost.tolist(), choice.error.tolist(), strict=True)
    assert list(found) == expected
    assert (selector.alpha, selector.beta) == naive.states[-1]
    assert selector.error_sum == naive.error_sum
    assert len({candidate for candidate, *_ in expected}) > 1
    assert (choice.kernel == blocks.kernels[choice.candidate]).all()


def test_choosing_leaves_the_state_alone(table, rng):
    blocks = describe(table, random_weights(rng, 50), rng)
    selector = Selector(table, Registers(alpha=77, beta=50, adapt=False))
    first = selector.choose(blocks)
    assert selector.error_sum == 0
    second = selector.run(blocks)
    assert (first.candidate == second.candidate).all()
    assert (first.cost == second.cost).all()
    selector.reset()
    assert (selector.alpha, selector.beta, selector.error_sum) == (77, 50, 0)


def test_an_empty_block_costs_nothing_and_a_hopeless_one_everything(table):
    weights = [np.zeros((16, 8), np.int8), np.ones((16, 8), np.int8)]
    shape, stored = np.zeros(2, int), np.array([0, 128])
    histogram = np.array([log_histogram(block) for block in weights])
    blocks = describe_blocks(
        table, CANDIDATES, shape, histogram, stored, np.ones((2, len(CANDIDATES)), bool)
    )
    choice = Selector(table).choose(blocks)
    assert choice.candidate.tolist() == [0, 0]
    assert choice.cost.tolist() == [0, INFEASIBLE]
    assert choice.error.tolist() == [0, 0]


def test_ties_go_to_the_lower_candidate(table):
    histogram = np.array([[64, 64, 0, 0, 0, 0, 0, 0, 0]])
    for order in (("dense", "bitmap", "bitmap"), ("bitmap", "bitmap", "dense")):
        candidates = [Candidate(kernel) for kernel in order]
        zeros = np.zeros((1, 3), bool)
        blocks = describe_blocks(table, candidates, np.array([0]), histogram, np.array([64]), zeros)
        assert Selector(table).choose(blocks).candidate[0] == order.index("bitmap")


def test_no_cost_reaches_the_infeasible_one():
    most = np.array([[0xFFFF]]), np.array([[(1 << 24) - 1]])
    no = np.zeros((1, 1), bool)
    cost = block_costs(0xFFFF, 0xFFFF, *most, no, no[0])
    assert cost[0, 0] == ((0xFFFF * 0xFFFF) >> 8) + ((0xFFFF * ((1 << 24) - 1)) << 8)
    assert cost[0, 0] < INFEASIBLE


def test_cycles_are_clipped(table):
    points = [
        point.model_copy(update={"cycles": 4 * 300 * (8 - point.step)}) for point in table.points
    ]
    falling = PerformanceTable(**(table.model_dump() | {"points": tuple(points)}))
    blocks = Blocks(
        kernels=np.array([1]),
        shape=np.array([0, 0]),
        empty=np.zeros(2, bool),
        count=np.array([[(1 << 24) - 1], [64]]),
        bin=np.array([[6], [6]]),
        error=np.zeros((2, 1), int),
        infeasible=np.zeros((2, 1), bool),
    )
    assert table_cycles(falling.rom_image(), blocks)[0].tolist() == [[0], [600]]
    assert table_cycles(table.rom_image(), blocks)[0].tolist() == [[(1 << 24) - 1], [64]]


@pytest.mark.parametrize("shift", [1, 6, 12])
def test_the_running_error_never_overflows(table, shift: int, rng):
    selector = Selector(table, shift=shift)
    for error in [ERROR_MAX] * (20 << shift if shift < 7 else 40_000):
        selector.update(error)
    assert selector.error_sum <= ERROR_MAX << shift
    if shift < 7:
        assert selector.error_sum == ERROR_MAX << shift
    # At the bound it stays there, and any error afterwards keeps within it.
    selector.error_sum = ERROR_MAX << shift
    selector.update(ERROR_MAX)
    assert selector.error_sum == ERROR_MAX << shift
    for error in rng.integers(0, 1 << 16, 500):
        selector.update(int(error))
        assert 0 <= selector.error_sum <= ERROR_MAX << shift


def test_the_controller_holds_the_budget(table, fixed_rng):
    """Lossy and exact candidates: the running error ends near the budget, from either side."""
    weights = [fixed_rng.integers(-40, 40, (64, 5)).astype(np.int8) for _ in range(4000)]
    histogram = np.array([log_histogram(block) for block in weights])
    candidates = [Candidate("bitmap"), *(Candidate("bitmap", t) for t in range(1, 7))]
    shape, stored = np.ones(4000, int), np.full(4000, 320)
    blocks = describe_blocks(table, candidates, shape, histogram, stored, np.zeros((4000, 7), bool))
    free = Selector(table, Registers(alpha=0, adapt=False))
    free.run(blocks)
    held = Selector(table, Registers(alpha=0, beta=256, budget=3000))
    choice = held.run(blocks)
    late = choice.error[2000:].mean()
    assert free.running_error > 30_000
    assert 0.5 * 3000 < late < 1.3 * 3000
    assert len(np.unique(choice.candidate[2000:])) > 1


def test_relative_error_against_loops(rng):
    for _ in range(50):
        histogram = rng.integers(0, 1 << rng.integers(1, 24), 9)
        for threshold in range(9):
            energies = [int(histogram[b]) * 4 ** (b - 1) for b in range(1, 9)]
            expected = min(65535, (sum(energies[:threshold]) << 16) // max(1, sum(energies)))
            assert relative_error(histogram, threshold) == expected
    assert relative_error(np.zeros(9, int), 8) == 0


def test_statistics_follow_from_the_blocks(table, rng):
    weights = random_weights(rng, 60)
    blocks = describe(table, weights, rng)
    for row, block in enumerate(weights):
        assert blocks.empty[row] == (not block.any())
        for number, candidate in enumerate(CANDIDATES):
            kept = int((np.abs(block.astype(int)) >= max(1, 1 << candidate.threshold)).sum())
            if candidate.threshold == 0:
                kept = np.count_nonzero(block)
                assert blocks.error[row, number] == 0
            if candidate.kernel != "block":
                assert blocks.count[row, number] == kept
            expected = density_bin(blocks.count[row, number], block.size)
            assert blocks.bin[row, number] == expected


@pytest.mark.parametrize(("alpha", "beta", "least"), [(256, 256, 1), (0xFFFF, 16, 3), (2000, 4, 3)])
def test_the_oracle_is_the_best_of_all(alpha: int, beta: int, least: int, rng):
    # Dense comes first, so that it wins the ties of full blocks.
    candidates = (*CANDIDATES[1:4], CANDIDATES[0], CANDIDATES[4])
    weights = random_weights(rng, 150)
    cycles, error, infeasible = exact_costs(weights, candidates, ARRAY)
    choice = best_choices(weights, candidates, ARRAY, alpha, beta)
    for row, block in enumerate(weights):
        costs = []
        for number, candidate in enumerate(candidates):
            wide = block.astype(int)
            kept = np.where(np.abs(wide) < 2**candidate.threshold, 0, wide).astype(np.int8)
            kernel = KERNELS[candidate.kernel]()
            assert infeasible[row, number] == (not kernel.accepts(kept))
            assert cycles[row, number] == kernel.column_cycles(kept != 0).sum()
            lost = (wide**2).sum() - (kept.astype(int) ** 2).sum()
            assert error[row, number] == min(65535, (lost << 16) // max(1, (wide**2).sum()))
            cost = alpha * int(error[row, number]) // 256 + beta * int(cycles[row, number]) * 256
            costs.append(INFEASIBLE if infeasible[row, number] else cost)
        if not block.any():
            assert (choice.candidate[row], choice.cost[row], choice.error[row]) == (0, 0, 0)
            continue
        assert choice.cost[row] == min(costs)
        assert choice.candidate[row] == costs.index(min(costs))
    assert len(np.unique(choice.candidate)) >= least


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Candidate("fast"), "candidate: kernel: must be one of dense.*got 'fast'"),
        (lambda: Candidate("nm", 9), "candidate: threshold: must be 0 to 8, got 9"),
        (lambda: Registers(alpha=1 << 16), "alpha: must be 0 to 65535, got 65536"),
        (lambda: Registers(alpha=5, alpha_max=4), "alpha_max: must be at least alpha"),
        (lambda: Registers(beta=5, beta_min=6), "beta_min: must be at most beta"),
    ],
)
def test_bad_settings_are_refused(make, message: str):
    with pytest.raises(BadInput, match=message):
        make()


def test_bad_arguments_are_refused(table):
    for name, value in (("shift", 0), ("shift", 13), ("gain", 16)):
        with pytest.raises(BadInput, match=f"selector: {name}: must be 1 to .*, got {value}"):
            Selector(table, **{name: value})
    histogram = np.array([[0, 1 << 24, 0, 0, 0, 0, 0, 0, 0]])
    zero = np.zeros(1, int)
    with pytest.raises(BadInput, match=r"count: must be below 2\*\*24, got 16777216"):
        describe_blocks(table, [Candidate("bitmap")], zero, histogram, zero, np.zeros((1, 1), bool))
    with pytest.raises(BadInput, match="candidates: must be at least one"):
        describe_blocks(table, [], zero, histogram, zero, np.zeros((1, 0), bool))
