"""Two LoRA adapters of one base model made one: a task and an alignment, each trained alone.

Updates add up exactly when their factors stand side by side:
w1 s1 B1 A1 + w2 s2 B2 A2 = [w1 s1 B1 | w2 s2 B2] [A1 ; A2].
The weighted sum (the paper's merge), SLERP and layer swapping are all such sums, with weights that differ by module.
TIES and DARE drop entries of the updates themselves: their result is dense, and only a low rank of it is kept.
Legend: r rank, R the ranks side by side.
"""

import math

import torch
from peft.utils.merge_utils import dare_linear, ties

from midalign.errors import InputError
from midalign.models.adapters import layer_of

DENSE = {"ties": ties, "dare": dare_linear}
METHODS = ("sum", "slerp", "swap", *DENSE)
SEED = 0
CANCELLED = 1e-5  # what is left of two updates that float32 cannot tell from nothing


def coefficients(method, task, align, weights=(1.0, 1.0), borders=None):
    """{module: (weight of the task's update, weight of the alignment's)} over the modules of both adapters.

    task, align: Adapter.   weights: of the two; for slerp they must sum to 1.
    borders: (first, last) for swap: the task's update in layers first .. last - 1, the alignment's in all others
    (Bandarkar et al. 2024, arXiv 2410.01335).   Raises InputError.
    """
    modules = sorted(task.updates.keys() | align.updates.keys())
    if (method == "swap") != (borders is not None):
        raise InputError(f"method {method}, borders {borders}; swap needs two borders, other methods take none.")
    if method == "swap":
        first, last = borders
        inside = {module: layer_of(module) is not None and first <= layer_of(module) < last for module in modules}
        if not any(inside.values()) or all(inside.values()):
            raise InputError(f"borders {first} {last} leave one of the adapters no layer; set them inside the model.")
        of_task, of_align = weights
        return {module: (of_task, 0.0) if inside[module] else (0.0, of_align) for module in modules}
    if method == "slerp":
        if not math.isclose(sum(weights), 1) or min(weights) < 0:
            raise InputError(f"slerp goes from one update to the other, found weights {weights}; let them sum to 1.")
        return {module: _slerp(task.updates.get(module), align.updates.get(module), weights) for module in modules}
    return dict.fromkeys(modules, tuple(weights))


def _slerp(task, align, weights):
    """Weights of two updates on the arc between them; those of the straight line where an arc is not defined."""
    if task is None or align is None:
        return weights
    norms = [math.sqrt(_inner(update, update)) for update in (task, align)]
    if min(norms) == 0:
        return weights
    angle = math.acos(max(-1.0, min(1.0, _inner(task, align) / (norms[0] * norms[1]))))
    if math.sin(angle) < 1e-6:
        return weights
    return tuple(math.sin(weight * angle) / math.sin(angle) for weight in weights)


def _inner(one, other):
    """<s1 B1 A1, s2 B2 A2>, the sum of products of all entries, without either product.   Returns float."""
    (a1, b1, s1), (a2, b2, s2) = ((a.double(), b.double(), s) for a, b, s in (one, other))
    return s1 * s2 * ((b1.T @ b2) * (a1 @ a2.T)).sum().item()


def combine(task, align, chosen, rank=None):
    """The factors of the weighted sum of two adapters, {module: (A (R, in), B (out, R))}, float32, scale 1.

    chosen: `coefficients`.   rank: keep the largest singular values of each update only.
    Modules that none of the two has a part in are left out.   Raises InputError where nothing is left.
    """
    factors = {}
    for module, weights in chosen.items():
        parts = list(_parts(task, align, module, weights))
        if parts:
            down = torch.cat([a.double() for _, a, _ in parts])
            up = torch.cat([scale * b.double() for scale, _, b in parts], dim=1)
            if rank and rank < len(down):
                down, up = truncate(down, up, rank)
            factors[module] = down.float(), up.float()
    if not factors:
        raise InputError("no update is left; give one of the adapters a weight other than 0.")
    return factors


def _parts(task, align, module, weights):
    """(weight times scale, A, B) of each adapter that has a part in the update of a module."""
    for adapter, weight in zip((task, align), weights, strict=True):
        if weight and module in adapter.updates:
            down, up, scale = adapter.updates[module]
            yield weight * scale, down, up


def truncate(down, up, rank):
    """The factors of the best approximation of `up @ down` of a rank (Eckart-Young).

    down: (R, in).   up: (out, R).   Only an R x R matrix is decomposed: QR of both factors first.
    """
    left, upper = torch.linalg.qr(up)  # (out, R), (R, R)
    right, lower = torch.linalg.qr(down.T)  # (in, R), (R, R)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    root = s[:rank].sqrt()  # fewer than `rank` where a side of the weight has fewer entries
    return (right @ v[:rank].T * root).T, left @ u[:, :rank] * root


def dense_combine(method, task, align, weights, density, rank):
    """`combine` for TIES (arXiv 2306.01708) and DARE (arXiv 2311.03099), by PEFT's functions on the whole updates.

    PEFT's own `ties` and `dare_linear` merges work on A and B apart, which is another thing. density: the share of
    entries that is kept.   rank: of the result.   Returns (factors, relative error of the rank over all modules).
    """
    generator = torch.random.get_rng_state()
    torch.manual_seed(SEED)
    factors, lost, whole = {}, 0.0, 0.0
    try:
        for module in sorted(task.updates.keys() | align.updates.keys()):
            owners = [(a, w) for a, w in zip((task, align), weights, strict=True) if module in a.updates]
            dense = [scale * (up.float() @ down.float()) for down, up, scale in (a.updates[module] for a, _ in owners)]
            update = DENSE[method](dense, torch.tensor([w for _, w in owners]), density)
            u, s, v = torch.svd_lowrank(update, q=min(rank + 8, *update.shape), niter=6)
            factors[module] = (v[:, :rank] * s[:rank].sqrt()).T, u[:, :rank] * s[:rank].sqrt()
            down, up = factors[module]
            lost += (update - up @ down).square().sum().item()
            whole += update.square().sum().item()
    finally:
        torch.random.set_rng_state(generator)
    if not whole:
        raise InputError("no update is left; keep more with --density, or give an adapter a weight other than 0.")
    return factors, math.sqrt(lost / whole)


def relative_error(task, align, chosen, factors):
    """How far `factors` are from the weighted sum, over all modules: ||wanted - got|| / ||wanted||.

    Frobenius norms in float64, from the factors: no update is ever made whole. Where the two updates of a module cancel
    out, its error counts in proportion to what they are apart.   Returns float.
    """
    lost = whole = 0.0
    for module, weights in chosen.items():
        wanted = [(down, up, scale) for scale, down, up in _parts(task, align, module, weights)]
        if wanted:
            right = _norm(wanted)
            apart = sum(_norm([part]) for part in wanted)
            lost += _norm([*wanted, (*factors[module], -1.0)]) ** 2
            whole += (right if right > CANCELLED * apart else apart) ** 2
    return math.sqrt(lost / whole) if whole else 0.0


def _norm(parts):
    """The Frobenius norm of a sum of updates (A, B, scale), by QR: sums of squares would lose half of the digits."""
    down = torch.cat([a.double() for a, _, _ in parts])
    up = torch.cat([scale * b.double() for _, b, scale in parts], dim=1)
    return (torch.linalg.qr(up, mode="r").R @ torch.linalg.qr(down.T, mode="r").R.T).norm().item()
