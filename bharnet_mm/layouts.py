"""Skeleton layouts: joints, graph, bone tree, mirror pairs and parts, all by joint name."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from .errors import LayoutError
from .io.guard import reading
from .io.names import repeated
from .layout_definitions import COCO_WHOLEBODY, DEFINITIONS, REGION_PARTS, REGION_WHOLES  # noqa: F401

#: Joints of a layout; faces, hands and bodies of MediaPipe together have 553.
MAX_JOINTS = 2000
COLORS = {'left': (0, 128, 255), 'right': (255, 96, 0), 'middle': (64, 176, 64)}


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class SkeletonLayout:
    """One skeleton definition, checked when it is built.

    Args:
        name: Registry name.
        joints: Joint names in array order.
        edges: Pairs of joint names, the undirected graph. Must be connected.
        parents: Joint to parent for every joint but the root: the bone tree. It need not follow
            the edges.
        center: Names of the joints whose mean is the origin.
        scale: Two joint names; their distance is the unit of size.
        swaps: ``(left, right)`` pairs of joint names.
        parts: Part name to joint names (``head``, ``left_wrist``, ``right_wrist``, ``left_ankle``,
            ``right_ankle`` if the skeleton has them).
        colors: RGB of ``left``, ``right`` and ``middle`` joints for drawing.

    Raises:
        LayoutError: Unknown or repeated names, a cycle, two roots, an unconnected graph, bad swaps.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    parents: dict[str, str]
    center: tuple[str, ...]
    scale: tuple[str, str]
    swaps: tuple[tuple[str, str], ...] = ()
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    colors: dict[str, tuple[int, int, int]] = field(default_factory=lambda: dict(COLORS))

    def __post_init__(self) -> None:
        def freeze(key: str, value: Any) -> None:
            object.__setattr__(self, key, value)

        freeze('joints', tuple(self.joints))
        freeze('edges', tuple(tuple(edge) for edge in self.edges))
        freeze('parents', dict(self.parents))
        freeze('center', (self.center,) if isinstance(self.center, str) else tuple(self.center))
        freeze('scale', tuple(self.scale))
        freeze('swaps', tuple(tuple(pair) for pair in self.swaps))
        freeze(
            'parts', {k: (v,) if isinstance(v, str) else tuple(v) for k, v in self.parts.items()}
        )
        freeze('colors', {**COLORS, **{k: tuple(v) for k, v in self.colors.items()}})
        _check(self)

    # Layouts are looked up and compared often; the name and joints tell them apart.
    def __hash__(self) -> int:
        return hash((self.name, self.joints))

    # An unpickled layout is built again, so that its cached arrays stay read-only.
    def __reduce__(self):
        return _from_fields, (self.to_dict(),)

    def __deepcopy__(self, memo: dict) -> SkeletonLayout:
        return self

    def __repr__(self) -> str:
        return f'SkeletonLayout({self.name!r}, {self.num_joints} joints, {len(self.edges)} edges)'

    @property
    def num_joints(self) -> int:
        """Number of joints, V."""
        return len(self.joints)

    @property
    def root(self) -> str:
        """The one joint without a parent."""
        return next(joint for joint in self.joints if joint not in self.parents)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {joint: i for i, joint in enumerate(self.joints)}

    def index(self, name: str) -> int:
        """Position of a joint in the arrays."""
        if name not in self._number:
            raise LayoutError(
                f'layout {self.name!r}',
                f'joint name {name!r}',
                f'one of {list(self.joints)}',
                'use a joint of this layout',
            )
        return self._number[name]

    def _indices(self, names: tuple[str, ...]) -> np.ndarray:
        return _read_only(np.array([self.index(name) for name in names], dtype=np.int64))

    @cached_property
    def edge_index(self) -> np.ndarray:
        """Edges as joint numbers, (E, 2) int64."""
        pairs = [[self.index(a), self.index(b)] for a, b in self.edges]
        return _read_only(np.array(pairs, dtype=np.int64).reshape(-1, 2))

    @cached_property
    def parent_index(self) -> np.ndarray:
        """Parent of each joint, (V,) int64; the root is its own parent."""
        return self._indices(tuple(self.parents.get(joint, joint) for joint in self.joints))

    @cached_property
    def swap_index(self) -> np.ndarray:
        """Permutation that exchanges left and right, (V,) int64; its own inverse."""
        index = np.arange(self.num_joints)
        for left, right in self.swaps:
            index[[self.index(left), self.index(right)]] = self.index(right), self.index(left)
        return _read_only(index.astype(np.int64))

    @cached_property
    def center_index(self) -> np.ndarray:
        """Joints whose mean is the origin, (n,) int64."""
        return self._indices(self.center)

    @cached_property
    def scale_index(self) -> np.ndarray:
        """The two joints whose distance is the unit of size, (2,) int64."""
        return self._indices(self.scale)

    def part_index(self, part: str) -> np.ndarray:
        """Joints of a part, (n,) int64; all of them for those of ``REGION_WHOLES``."""
        if part in REGION_WHOLES:
            return self._indices(self.joints)
        if part not in self.parts:
            raise LayoutError(
                f'layout {self.name!r}',
                f'part {part!r}',
                f'one of {sorted(self.parts)}',
                'name a part that this layout defines, or add it to the layout',
            )
        return self._indices(self.parts[part])

    def side(self, name: str) -> str:
        """``left``, ``right`` or ``middle``, according to the swaps."""
        i = self.index(name)
        if self.swap_index[i] == i:
            return 'middle'
        return 'left' if any(name == left for left, _ in self.swaps) else 'right'

    def select(self, layout: str | dict | SkeletonLayout, prefix: str = '') -> np.ndarray:
        """Indices of the joints of another layout in this one, by name.

        Args:
            layout: The layout to select.
            prefix: Added before each of its joint names, e.g. ``left_hand.`` to select a hand of a
                whole body.

        Returns:
            (V',) int64, so that ``array[..., index, :]`` has the other layout.
        """
        target = get_layout(layout)
        missing = [prefix + joint for joint in target.joints if prefix + joint not in self._number]
        if missing:
            raise LayoutError(
                f'selecting layout {target.name!r} from {self.name!r}',
                f'no joints {missing[:5]} ({len(missing)} missing)',
                f'all {target.num_joints} joints of {target.name!r} by name',
                'select a sub-layout of the data, or name its joints alike',
            )
        return self._indices(tuple(prefix + joint for joint in target.joints))

    @cached_property
    def hops(self) -> np.ndarray:
        """Number of edges from the root of the bone tree to each joint, (V,) int64."""
        return _read_only(_hops(self.num_joints, self.edge_index, self.index(self.root)))

    @cached_property
    def _adjacency(self) -> np.ndarray:
        v = self.num_joints
        matrix = np.zeros((3, v, v))
        matrix[0] = np.eye(v)
        for i, j in self.edge_index:
            for near, far in ((i, j), (j, i)):
                if self.hops[near] < self.hops[far]:
                    matrix[1, near, far] = 1
                    matrix[2, far, near] = 1
                elif self.hops[near] == self.hops[far]:
                    matrix[0, near, far] = 1
        degree = matrix.sum(axis=1, keepdims=True)
        return _read_only((matrix / np.maximum(degree, 1)).astype(np.float32))

    def adjacency(self) -> np.ndarray:
        """Spatial partition of the graph, (3, V, V) float32: self, inward, outward.

        ``A[s, i, j]`` is the weight with which joint i receives from joint j in subset s. Inward
        edges lead toward the centre of the graph (the root of the bone tree, by number of hops),
        outward edges away from it. Each matrix is divided by the degree of its columns, ``A / sum_i
        A[i, j]``. As in ST-GCN (Yan et al., AAAI 2018), edges between joints equally far from the
        centre are added to the first subset.
        """
        return self._adjacency

    def to_dict(self) -> dict[str, Any]:
        """The definition as plain types, from which ``get_layout`` builds the layout again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def _from_fields(definition: dict[str, Any]) -> SkeletonLayout:
    return SkeletonLayout(**definition)


def _hops(num_joints: int, edges: np.ndarray, start: int) -> np.ndarray:
    neighbours: list[list[int]] = [[] for _ in range(num_joints)]
    for i, j in edges.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    hops = np.full(num_joints, -1, dtype=np.int64)
    hops[start] = 0
    queue = deque([start])
    while queue:
        i = queue.popleft()
        for j in neighbours[i]:
            if hops[j] < 0:
                hops[j] = hops[i] + 1
                queue.append(j)
    return hops


def _check(layout: SkeletonLayout) -> None:
    where = f'layout {layout.name!r}'
    names = set(layout.joints)

    def fail(found: str, expected: str, fix: str) -> None:
        raise LayoutError(where, found, expected, fix)

    if not layout.joints:
        fail('no joints', 'at least one joint', 'list the joint names in array order')
    if len(layout.joints) > MAX_JOINTS:  # what is built from a layout grows by their square
        fail(f'{len(layout.joints)} joints', f'at most {MAX_JOINTS}', 'leave out some')
    if twice := repeated(layout.joints):
        fail(f'joint names {twice} more than once', 'unique joint names', 'rename the joints')
    groups = {
        'edges': layout.edges,
        'parents': tuple(layout.parents.items()),
        'swaps': layout.swaps,
        'center': (layout.center,),
        'scale': (layout.scale,),
        'parts': tuple(layout.parts.values()),
    }
    for key, rows in groups.items():
        unknown = sorted({str(j) for row in rows for j in row} - names)
        if unknown:
            fail(
                f'unknown joint names {unknown} in {key}',
                'names from joints',
                'correct the spelling',
            )
        if key in ('edges', 'swaps', 'scale') and any(
            len(row) != 2 or row[0] == row[1] for row in rows
        ):
            fail(
                f'an entry of {key} that is not two different joints',
                'pairs of joints',
                f'correct {key}',
            )
        if key in ('center', 'parts') and not all(rows):
            fail(f'an empty entry in {key}', 'at least one joint name', f'complete {key}')
    if len({frozenset(edge) for edge in layout.edges}) != len(layout.edges):
        fail('the same edge more than once', 'each edge once, in either direction', 'remove one')
    if twice := repeated(joint for pair in layout.swaps for joint in pair):
        fail(
            f'joints {twice} in more than one swap',
            'disjoint left/right pairs',
            'keep one swap per joint',
        )
    roots = [joint for joint in layout.joints if joint not in layout.parents]
    for joint in layout.joints:
        visited = {joint}
        while (joint := layout.parents.get(joint)) is not None:
            if joint in visited:
                fail(
                    f'a cycle through {joint!r} in parents',
                    'a tree',
                    'let every chain end at one root',
                )
            visited.add(joint)
    if len(roots) != 1:
        fail(
            f'joints without a parent {roots}',
            'exactly one root',
            'give every other joint a parent',
        )
    far = np.flatnonzero(_hops(layout.num_joints, layout.edge_index, layout.index(roots[0])) < 0)
    if far.size:
        cut_off = [layout.joints[i] for i in far]
        fail(
            f'joints {cut_off} not connected to {roots[0]!r}',
            'a connected graph',
            'add the missing edges',
        )


def unified_layout(
    body_layout: str | dict | SkeletonLayout,
    hand_layout: str | dict | SkeletonLayout = 'hand',
    name: str | None = None,
) -> SkeletonLayout:
    """One graph of a body and both hands, joined at the body's wrists.

    Args:
        body_layout: Has the joints ``left_wrist`` and ``right_wrist``.
        hand_layout: Its joints become ``left_hand.<joint>`` and ``right_hand.<joint>``; its root is
            connected to the wrist.
        name: Defaults to ``<body>+<hand>``.
    """
    body, hand = get_layout(body_layout), get_layout(hand_layout)
    joints, edges, parents = list(body.joints), list(body.edges), dict(body.parents)
    for side in ('left', 'right'):
        wrist, prefix = f'{side}_wrist', f'{side}_hand.'
        if wrist not in body.joints:
            raise LayoutError(
                f'unified layout of {body.name!r} and {hand.name!r}',
                f'no joint {wrist!r} in {body.name!r}',
                "the joints 'left_wrist' and 'right_wrist'",
                'use a body layout that has wrists, or name its wrists so',
            )
        joints += [prefix + joint for joint in hand.joints]
        edges += [(wrist, prefix + hand.root)] + [(prefix + a, prefix + b) for a, b in hand.edges]
        parents |= {
            prefix + hand.root: wrist,
            **{prefix + a: prefix + b for a, b in hand.parents.items()},
        }
    return SkeletonLayout(
        name or f'{body.name}+{hand.name}',
        tuple(joints),
        edges=tuple(edges),
        parents=parents,
        center=body.center,
        scale=body.scale,
        swaps=(
            *body.swaps,
            *((f'left_hand.{joint}', f'right_hand.{joint}') for joint in hand.joints),
        ),
        parts=body.parts,
        colors=body.colors,
    )


def get_layout(layout: str | dict | SkeletonLayout) -> SkeletonLayout:
    """A layout, given its name, a dict of ``SkeletonLayout`` arguments or itself.

    ``'<body>+<hand>'`` is the :func:`unified_layout` of two names.
    """
    if isinstance(layout, SkeletonLayout):
        return layout
    if isinstance(layout, dict):
        known = {item.name for item in fields(SkeletonLayout)}
        required = {'name', 'joints', 'edges', 'parents', 'center', 'scale'}
        if not required <= set(layout) <= known:
            raise LayoutError(
                f'layout {layout.get("name", "without a name")!r}',
                f'the fields {sorted(layout)}',
                f'{sorted(required)} and perhaps {sorted(known - required)}',
                'complete or correct the definition',
            )
        with reading('layout', 'the types of its fields', 'correct the definition', LayoutError):
            return SkeletonLayout(**layout)
    name = ALIASES.get(layout, layout) if isinstance(layout, str) else ''
    if name.count('+') == 1 and name not in LAYOUTS:
        return unified_layout(*name.split('+'))
    if name not in LAYOUTS:
        raise LayoutError(
            'layout',
            f'{layout!r}',
            f'one of {[*LAYOUTS, *ALIASES]}, a dict or a SkeletonLayout',
            'use a shipped name or define the layout as a dict',
        )
    return LAYOUTS[name]


ALIASES = {'nturgb+d': 'kinect_v2'}
LAYOUTS: dict[str, SkeletonLayout] = {item['name']: SkeletonLayout(**item) for item in DEFINITIONS}
LAYOUTS['coco_wholebody'] = unified_layout(COCO_WHOLEBODY, 'hand', name='coco_wholebody')
