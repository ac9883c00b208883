"""From a plan to a job graph: which steps run together, where rows change hands, how many subtasks there are.

One function per node type. Steps are chained for as long as rows need not move: a new vertex begins where a hash
exchange is needed (keyed state), where parallelism changes (``head``, a sink with one writer), where streams meet
(``concat``), and where one step feeds several. Row-wise steps next to each other become one operator, whose single
Polars query also takes in the source's scan when that is lazy; keyed aggregates are combined before the exchange.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.contracts.source import Source
from streamlab.core.errors import InternalError
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.graph.source_form import source_form
from streamlab.operators.base import OperatorSpec
from streamlab.operators.group_aggregate import group_operators
from streamlab.operators.head import HeadSpec
from streamlab.operators.joins import JoinPlan, join_operators
from streamlab.operators.map_batches import MapBatchesSpec
from streamlab.operators.static_join import StaticJoinSpec
from streamlab.operators.steps import PolarsStepsSpec
from streamlab.operators.watermarks import AssignWatermarksSpec
from streamlab.operators.windows import window_operators
from streamlab.plan import nodes
from streamlab.plan.explain import path_digest
from streamlab.plan.schema import calls_python
from streamlab.plan.step_names import base_name, step_names
from streamlab.plan.step_titles import step_titles
from streamlab.state.checkpoints.manifest import StoredStep
from streamlab.state.checkpoints.stored_forms import stored_step
from streamlab.state.forms import StateForm


def lower(plan: nodes.Write, parallelism: int) -> JobGraph:
    """Return the job graph of a plan.

    Parameters
    ----------
    plan
        The query, ending in a sink.
    parallelism
        Subtasks of every vertex that can have more than one.
    """
    lowering = _Lowering(plan, parallelism)
    lowering.visit(plan)
    return lowering.graph()


@dataclass
class _Input:
    chain: _Chain
    exchange: Exchange
    keys: tuple[str, ...] = ()


@dataclass(eq=False)
class _Chain:
    """A vertex in the making."""

    parallelism: int
    inputs: list[_Input] = field(default_factory=list)
    source: Source | None = None
    operators: list[OperatorSpec] = field(default_factory=list)
    sink: Sink | None = None
    closed: bool = False
    """Whether its output goes to several places, so that nothing can be appended."""

    @property
    def first_step(self) -> str:
        if self.source is not None:
            return self.source.name
        if self.operators:
            return self.operators[0].step
        return self.sink.name if self.sink is not None else "concat"


class _Lowering:
    def __init__(self, plan: nodes.Write, parallelism: int) -> None:
        self._parallelism = parallelism
        self._chains: list[_Chain] = []
        self._done: dict[int, _Chain] = {}
        self._own_names = step_names(plan)
        self._titles = step_titles(plan, self._own_names)
        self._names: Counter[str] = Counter(self._own_names.values())
        self._stateful: list[tuple[nodes.Node, _Chain]] = []
        self._upserted = _upserted(plan)
        self._shows_cuts = _shows_cuts(plan)
        self._judges_rows = any(isinstance(node, nodes.WindowAggregate) for node in plan.walk())
        self._consumers = Counter(id(child) for node in plan.walk() for child in node.inputs)

    def graph(self) -> JobGraph:
        ids = {}
        taken: Counter[str] = Counter()
        for chain in self._chains:
            taken[chain.first_step] += 1
            number = taken[chain.first_step]
            ids[id(chain)] = chain.first_step if number == 1 else f"{chain.first_step} #{number}"
        steps = tuple(self._stored(node, chain, ids[id(chain)]) for node, chain in self._stateful)
        vertices = tuple(Vertex(ids[id(c)], c.source, tuple(c.operators), c.sink, c.parallelism) for c in self._chains)
        edges = tuple(
            Edge(ids[id(i.chain)], ids[id(c)], i.exchange, i.keys, port)
            for c in self._chains
            for port, i in enumerate(c.inputs)
        )
        return JobGraph(vertices, edges, steps)

    def visit(self, node: nodes.Node) -> _Chain:
        """Return the chain at whose end the node's rows come out."""
        chain = self._done.get(id(node))
        if chain is None:
            chain = self._lower(node)
            if node.keeps_state:
                self._stateful.append((node, chain))
            chain.closed = self._consumers[id(node)] > 1
            self._done[id(node)] = chain
        return chain

    def _open(self, node: nodes.Node) -> _Chain:
        """Return a chain that a step on top of `node` can be appended to."""
        chain = self.visit(node)
        return self._new(chain.parallelism, _Input(chain, Exchange.FORWARD)) if chain.closed else chain

    def _new(self, parallelism: int, *inputs: _Input) -> _Chain:
        chain = _Chain(parallelism, list(inputs))
        self._chains.append(chain)
        return chain

    def _stored(self, node: nodes.Node, chain: _Chain, vertex: str) -> StoredStep:
        """Return what checkpoints say of a step that keeps state."""
        name = self._own_names[id(node)]
        if isinstance(node, nodes.Scan):
            form = source_form(node.source)
        else:
            spec = next(spec for spec in chain.operators if spec.step == name)
            form = spec.state_form or StateForm("nothing")
        return stored_step(
            form,
            name,
            vertex,
            base=base_name(node),
            path=path_digest(node),
            title=self._titles[id(node)],
            is_source=isinstance(node, nodes.Scan),
        )

    def _step(self, node: nodes.Node, name: str | None = None) -> str:
        """Return the step's name, numbered when it is taken."""
        if id(node) in self._own_names:
            return self._own_names[id(node)]
        name = name or node.step
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} #{self._names[name]}"

    def _single(self, node: nodes.Node) -> _Chain:
        """Return an open chain with one subtask that all rows of `node` come to."""
        chain = self._open(node)
        return chain if chain.parallelism == 1 else self._new(1, _Input(chain, Exchange.REBALANCE))

    @singledispatchmethod
    def _lower(self, node: nodes.Node) -> _Chain:
        text = f"no lowering for {type(node).__name__}"
        raise InternalError(text)

    @_lower.register
    def _(self, node: nodes.Scan) -> _Chain:
        limit = node.source.max_parallelism
        chain = self._new(self._parallelism if limit is None else min(limit, self._parallelism))
        source = node.source if self._shows_cuts else node.source.joining()
        timing = replace(source.timing, judges_rows=self._judges_rows)
        chain.source = replace(source.shared(chain.parallelism), name=self._step(node), timing=timing)
        return chain

    @_lower.register
    def _(self, node: nodes.PolarsStep) -> _Chain:
        chain = self._open(node.input)
        step = (node.method, node.args, dict(node.kwargs))
        last = chain.operators[-1] if chain.operators else None
        python = _calls_python(*node.args, *node.kwargs.values())
        if isinstance(last, PolarsStepsSpec) and not (last.runs_python or python):
            shown = last.shown if node.step == last.shown.rpartition(".")[2] else f"{last.shown}.{node.step}"
            chain.operators[-1] = replace(last, step=f"{last.step}.{node.step}", title=shown, steps=(*last.steps, step))
        else:
            chain.operators.append(PolarsStepsSpec(self._step(node), (step,), runs_python=python))
        return chain

    @_lower.register
    def _(self, node: nodes.MapBatches) -> _Chain:
        chain = self._open(node.input)
        title = self._titles[id(node)]
        chain.operators.append(MapBatchesSpec(self._step(node), node.function, node.schema, node.as_, title=title))
        return chain

    @_lower.register
    def _(self, node: nodes.AssignWatermarks) -> _Chain:
        chain = self._open(node.input)
        idle_us = node.idle_timeout.fixed_us("idle_timeout") if node.idle_timeout else None
        chain.operators.append(
            AssignWatermarksSpec(
                self._step(node),
                node.column,
                node.schema[node.column],
                node.delay.fixed_us("delay"),
                idle_us,
                title=self._titles[id(node)],
            )
        )
        return chain

    @_lower.register
    def _(self, node: nodes.Head) -> _Chain:
        chain = self._single(node.input)
        chain.operators.append(HeadSpec(self._step(node), node.n, title=self._titles[id(node)]))
        return chain

    @_lower.register
    def _(self, node: nodes.StaticJoin) -> _Chain:
        chain = self._open(node.input)
        chain.operators.append(
            StaticJoinSpec(
                self._step(node),
                node.right,
                node.how,
                node.left_on,
                node.right_on,
                dict(node.kwargs),
                title=self._titles[id(node)],
            )
        )
        return chain

    @_lower.register
    def _(self, node: nodes.StreamJoin) -> _Chain:
        schemas = node.left.schema, node.right.schema
        keys, updating = (node.left_on, node.right_on), (node.left.updating, node.right.updating)
        plan = JoinPlan(node.how, schemas, keys, node.schema, node.kwargs, updating)
        *sides, keyed = join_operators(self._step(node), plan)
        python, title = _calls_python(*node.left_on, *node.right_on), self._titles[id(node)]
        inputs = []
        for below, side in zip(node.inputs, sides, strict=True):
            chain = self._open(below)
            shown = title + side.step.removeprefix(keyed.step)
            chain.operators.append(replace(side, runs_python=python, title=shown))
            inputs.append(_Input(chain, Exchange.HASH, plan.key_columns))
        target = self._new(self._parallelism, *inputs)
        target.operators.append(replace(keyed, title=title))
        return target

    @_lower.register
    def _(self, node: nodes.Union) -> _Chain:
        branches = [self.visit(branch) for branch in node.branches]
        parallelism = max(branch.parallelism for branch in branches)
        return self._new(
            parallelism,
            *(_Input(b, Exchange.FORWARD if b.parallelism == parallelism else Exchange.REBALANCE) for b in branches),
        )

    @_lower.register
    def _(self, node: nodes.WindowAggregate) -> _Chain:
        chain = self._open(node.input)
        local, keys, keyed = window_operators(
            self._step(node),
            index_column=node.index_column,
            windows=node.windows,
            keys=node.keys,
            split=node.split,
            input_schema=node.input.schema,
            include_boundaries=node.include_boundaries,
            allowed_lateness_us=node.allowed_lateness_us,
            trigger=node.trigger,
            combines=not _can_idle(node),
        )
        return self._exchanged(chain, local, keys, keyed, node)

    @_lower.register
    def _(self, node: nodes.GroupAggregate) -> _Chain:
        chain = self._open(node.input)
        local, keys, keyed = group_operators(
            self._step(node),
            keys=node.keys,
            split=node.split,
            input_schema=node.input.schema,
            updating=node.input.updating,
            emit_update_before=id(node) not in self._upserted,
        )
        return self._exchanged(chain, local, keys, keyed, node)

    def _exchanged(
        self,
        chain: _Chain,
        local: OperatorSpec,
        keys: tuple[str, ...],
        keyed: OperatorSpec,
        node: nodes.WindowAggregate | nodes.GroupAggregate,
    ) -> _Chain:
        """Return a new chain behind a hash exchange; without keys there is one subtask that gets everything."""
        split = node.split
        python = _calls_python(*node.keys, *split.partial, *split.merge, *split.final, *split.buffered)
        title = self._titles[id(node)]
        before = title + local.step.removeprefix(keyed.step)
        chain.operators.append(replace(local, runs_python=python, title=before))
        target = self._new(self._parallelism if keys else 1, _Input(chain, Exchange.HASH, keys))
        target.operators.append(replace(keyed, runs_python=python, title=title))
        return target

    @_lower.register
    def _(self, node: nodes.Write) -> _Chain:
        limit = node.sink.max_parallelism
        chain = self._open(node.input)
        if limit is not None and chain.parallelism > limit:
            chain = self._new(limit, _Input(chain, Exchange.REBALANCE))
        chain.sink = replace(node.sink, name=self._step(node, node.sink.name))
        return chain


def _calls_python(*expressions: object) -> bool:
    return any(calls_python(expression) for expression in expressions)


def _upserted(plan: nodes.Write) -> set[int]:
    """Return the ids of the aggregates whose only reader is a sink that needs no ``-U`` rows.

    A step in between would need them: a filter lets through what it must also take back.
    """
    readers = [node for node in plan.walk() if plan.input in node.inputs]
    return {id(plan.input)} if readers == [plan] and not plan.sink.needs_update_before else set()


def _shows_cuts(plan: nodes.Write) -> bool:
    """Return whether a user can see how rows were cut into batches: by what a function is given, or by updates."""
    return plan.sink.is_user_code or any(node.updating or isinstance(node, nodes.MapBatches) for node in plan.walk())


def _can_idle(node: nodes.Node) -> bool:
    """Return whether some input below can become idle, and so fall behind the watermark of the others."""
    for below in node.walk():
        if isinstance(below, nodes.Scan) and below.source.timing.idle_timeout is not None:
            return True
        if isinstance(below, nodes.AssignWatermarks) and below.idle_timeout is not None:
            return True
    return False
