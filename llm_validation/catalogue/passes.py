"""Passes of a model over prefix trees: outputs at the nodes, and gradients back, for one seed or several stacked.

A reader is a module that maps packed trees to outputs at nodes: `PolicyReader` to next-token logits, `RewardReader` to
rewards. `Stacked` makes one of the readers of several seeds, whose matrix products become batched ones: a GPU that one
small model leaves idle trains five in the same time. `Passes` runs a reader over the trees of a training task, on a
GPU as a CUDA graph, and in parts where the trees do not fit the device's memory at once. Everything is float32: a law
is to be known to 10⁻³ nats and better, which bf16 is too coarse for (`model.use_tensor_cores`).

Shapes: S seeds, P prompts, L positions of a packed prompt, N nodes, K outputs of a node.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from transformers import PreTrainedModel

from llm_validation.catalogue.trie import PrefixTrie, last_nodes, log_policy_of_logits, states_at
from llm_validation.training.cuda_graph import graphed
from llm_validation.training.memory import Portion, Result, fitting

#: tokens (P, L), positions (P, L), visible (P, L, L), node (N, 2); with several seeds one dimension more in front.
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


class Reader(Protocol):
    """What `Passes` needs of a reader besides that it is a module with `forward(*Inputs) -> (N, K)`."""

    def nodes(self, trie: PrefixTrie) -> Tensor:
        """(N, 2) the nodes to be read."""

    def finish(self, outputs: Tensor, trie: PrefixTrie) -> Tensor:
        """What an objective is a function of, from the outputs (N, K)."""


class PolicyReader(nn.Module):
    """Next-token logits (N, V) at the inner nodes, and from them log π (P, A + 1)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, positions: Tensor, visible: Tensor, node: Tensor) -> Tensor:
        states = states_at(self.model.base_model, tokens, positions, visible, node)
        logits: Tensor = self.model.get_output_embeddings()(states)
        return logits.float()

    def nodes(self, trie: PrefixTrie) -> Tensor:
        return trie.node

    def finish(self, outputs: Tensor, trie: PrefixTrie) -> Tensor:
        return log_policy_of_logits(outputs, trie)


class RewardReader(nn.Module):
    """Rewards (N, 1) = states · head at the last node of every response, and from them rewards (P, A)."""

    def __init__(self, base_model: Any, head: Tensor) -> None:
        super().__init__()
        self.base, self.head = base_model, nn.Parameter(head)

    def forward(self, tokens: Tensor, positions: Tensor, visible: Tensor, node: Tensor) -> Tensor:
        states = states_at(self.base, tokens, positions, visible, node)
        return (states.float() * self.head).sum(-1, keepdim=True)

    def nodes(self, trie: PrefixTrie) -> Tensor:
        return trie.node[last_nodes(trie).flatten()]

    def finish(self, outputs: Tensor, trie: PrefixTrie) -> Tensor:
        return outputs.view(trie.n_prompts, trie.n_responses)


class Stacked(nn.Module):
    """S readers of one shape as one module: parameters (S, …), outputs (S, N, K).

    The members keep their own weights until `write_back` copies the stack's to them.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = tuple(members)  # a tuple: not registered, or its parameters would be counted again
        parameters, self.fixed = stack_module_state(list(members))
        self.names = tuple(parameters)
        self.stacked = nn.ParameterList([
            nn.Parameter(value.detach(), requires_grad=value.requires_grad) for value in parameters.values()
        ])  # fmt: skip
        skeleton = copy.deepcopy(members[0])  # its own weights are never read, but tied ones show where they belong
        model = next(module for module in skeleton.modules() if isinstance(module, PreTrainedModel))
        model.set_attn_implementation("eager")  # fused kernels have no batching rule on every device
        self.skeleton = (skeleton,)
        own = {id(weight): place for place, weight in enumerate(skeleton.parameters())}
        #: Every name of a weight, tied ones too, and its place in `stacked`: torch would look for them at each pass
        self.places = {name: own[id(weight)] for name, weight in skeleton.named_parameters(remove_duplicate=False)}

    def forward(self, *inputs: Tensor) -> Tensor:
        def one(parameters: dict[str, Tensor], fixed: dict[str, Tensor], *own: Tensor) -> Tensor:
            outputs: Tensor = functional_call(self.skeleton[0], (parameters, fixed), own, tie_weights=False)
            return outputs

        stacked = list(self.stacked)
        weights = {name: stacked[place] for name, place in self.places.items()}
        outputs: Tensor = vmap(one)(weights, self.fixed, *inputs)
        return outputs

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy every seed's weights into its own member."""
        for seed, member in enumerate(self.members):
            own = dict(member.named_parameters())
            for name, value in zip(self.names, self.stacked, strict=True):
                own[name].copy_(value[seed])


def tree_inputs(tries: Sequence[PrefixTrie], nodes: Sequence[Tensor], prompts: slice) -> tuple[Inputs, list[int]]:
    """The inputs of a part of the prompts, filled up to one shape over seeds, and the number of nodes of each seed.

    nodes  (N, 2) per seed, ascending in the prompt. One seed: no dimension of seeds.
    """
    first, last = prompts.start, prompts.stop
    chosen = [own[(own[:, 0] >= first) & (own[:, 0] < last)] - own.new_tensor([first, 0]) for own in nodes]
    counts = [len(own) for own in chosen]
    parts = [(t.tokens[prompts], t.positions[prompts], t.visible[prompts]) for t in tries]
    if len(tries) == 1:
        return (*parts[0], chosen[0]), counts
    L, N = max(tokens.shape[1] for tokens, _, _ in parts), max(counts)
    return cast(Inputs, tuple(map(torch.stack, zip(*(
        (_filled(tokens, L), _filled(positions, L), _filled_mask(visible, L), _filled(own.T, N).T)
        for (tokens, positions, visible), own in zip(parts, chosen, strict=True)
    ), strict=True)))), counts  # fmt: skip


def _filled(values: Tensor, length: int) -> Tensor:
    """Zeros behind the last dimension's entries: what fills up is read by nobody."""
    return nn.functional.pad(values, (0, length - values.shape[-1]))


def _filled_mask(visible: Tensor, length: int) -> Tensor:
    """A position that fills up sees itself: an empty row of a softmax is NaN."""
    old = visible.shape[-1]
    filled = nn.functional.pad(visible, (0, length - old, 0, length - old))
    filled[:, range(old, length), range(old, length)] = True
    return filled


class Passes:
    """Forward and backward passes of one reader, or of S stacked ones, over the trees of a training task.

    forward   per seed the outputs (N, K), as leaves: an objective's gradient ends there
    backward  sends that gradient on to the weights
    Out of memory, fewer prompts are passed at a time from then on (`training.memory.fitting`): outputs first, without
    what a backward pass needs, then each part again with its gradient. The gradient is that of the whole batch up to
    rounding. TooLittleMemory if a single prompt does not fit, or if other processes take part (not `alone`).
    """

    def __init__(
        self,
        module: nn.Module,
        readers: Sequence[Reader],
        tries: Sequence[PrefixTrie],
        name: str,
        *,
        alone: bool = True,
    ) -> None:
        self.module, self.tries, self.name, self.alone = module, tries, name, alone
        self.nodes = [reader.nodes(trie) for reader, trie in zip(readers, tries, strict=True)]
        self.device, self.n_prompts = tries[0].tokens.device, tries[0].n_prompts
        self.portion = Portion(self.n_prompts)
        self.parts = self._split(self.n_prompts)
        self.call: Callable[..., Tensor] = module
        self.kept: Tensor | None = None
        self.leaves: list[Tensor] = []

    def _split(self, size: int) -> list[tuple[Inputs, list[int]]]:
        """The trees of `size` prompts at a time."""
        starts = range(0, self.n_prompts, size)
        return [
            tree_inputs(self.tries, self.nodes, slice(first, min(first + size, self.n_prompts))) for first in starts
        ]

    def capture(self) -> None:
        """On a GPU, replay forward and backward as CUDA graphs from now on."""
        if self.device.type == "cuda" and len(self.parts) == 1:
            self.call = graphed(self.module, self.parts[0][0], self.name) or self.module

    def forward(self, *, gradient: bool = True) -> list[Tensor]:
        """Outputs (N, K) of every seed; with `gradient`, leaves that collect it."""
        outputs = self._fitting(partial(self._outputs, gradient))
        self.leaves = [own.detach().requires_grad_(gradient) for own in outputs]
        return self.leaves

    def backward(self) -> None:
        """Send the leaves' gradients to the weights, in place of what those have."""
        gradients = [cast(Tensor, leaf.grad) for leaf in self.leaves]
        self._fitting(partial(self._send, gradients))

    def _fitting(self, work: Callable[[int], Result]) -> Result:
        return fitting(self.name, self.portion, work, alone=self.alone, unit="prompt")

    def _outputs(self, gradient: bool, size: int) -> list[Tensor]:
        if size == self.n_prompts:
            inputs, counts = self.parts[0]
            with torch.set_grad_enabled(gradient):
                outputs = self.call(*inputs)
            self.kept = outputs if gradient else None
            return self._by_seed(outputs, counts)
        self._use_parts(size)
        with torch.no_grad():
            found = [self._by_seed(self.module(*inputs), counts) for inputs, counts in self.parts]
        return [torch.cat(own) for own in zip(*found, strict=True)]

    def _use_parts(self, size: int) -> None:
        """From the first time on there is neither a graph of the whole nor a pass of it that waits for its gradient."""
        self.kept, self.call = None, self.module
        if len(self.parts) != -(-self.n_prompts // size):
            self.parts = self._split(size)

    def _by_seed(self, outputs: Tensor, counts: list[int]) -> list[Tensor]:
        if len(counts) == 1:
            return [outputs]
        return [own[:count] for own, count in zip(outputs, counts, strict=True)]

    def _send(self, gradients: list[Tensor], size: int) -> None:
        self.module.zero_grad(set_to_none=True)
        if size == self.n_prompts:
            kept, self.kept = cast(Tensor, self.kept), None
            torch.autograd.backward(kept, self._filled_up(gradients, kept))
            return
        self._use_parts(size)
        done = [0] * len(gradients)
        for inputs, counts in self.parts:
            outputs = self.module(*inputs)
            part = [g[first : first + count] for g, first, count in zip(gradients, done, counts, strict=True)]
            torch.autograd.backward(outputs, self._filled_up(part, outputs))
            done = [first + count for first, count in zip(done, counts, strict=True)]

    def _filled_up(self, gradients: list[Tensor], outputs: Tensor) -> Tensor:
        """Gradients of several seeds as one tensor, zero at the nodes that fill up."""
        if len(gradients) == 1:
            return gradients[0]
        whole = torch.zeros_like(outputs)
        for row, gradient in zip(whole, gradients, strict=True):
            row[: len(gradient)] = gradient
        return whole
