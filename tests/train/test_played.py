"""What was done in each task since its episode began."""

from __future__ import annotations

import numpy as np

from plastikit.train.played import PlayedActions


def numbered(count: int, *, task_count: int = 2) -> np.ndarray:
    """Actions of two numbers that tell step and task apart."""
    return np.arange(2 * count * task_count, dtype=np.float32).reshape(count, task_count, 2)


def test_each_task_has_the_actions_of_its_own_episode() -> None:
    """Episodes of different lengths end apart from each other."""
    actions, played = numbered(6), PlayedActions(2)
    for number, action in enumerate(actions):
        played.add(action)
        played.forget(np.array([number == 1, number == 5]))
    first, second = played.each()
    assert np.array_equal(first, actions[2:, 0])
    assert len(second) == 0
    played.add(actions[0])
    assert np.array_equal(played.each()[1], actions[:1, 1])


def test_what_was_given_may_change_afterwards() -> None:
    """The caller's array is not kept."""
    actions, played = numbered(1), PlayedActions(2)
    played.add(actions[0])
    actions[:] = -1.0
    assert played.each()[1].tolist() == [[2.0, 3.0]]


def test_no_more_is_kept_than_the_longest_episode() -> None:
    """A run of any length needs the memory of one episode."""
    played = PlayedActions(2)
    for number, action in enumerate(numbered(1_000)):
        played.add(action)
        played.forget(np.array([number % 10 == 0, number % 7 == 0]))
    assert len(played._rows) == 9


def test_what_was_taken_over_goes_on_as_it_would_have() -> None:
    """Another record that takes over what one gave is as good as that one."""
    actions, one, other = numbered(6), PlayedActions(2), PlayedActions(2)
    for number, action in enumerate(actions[:3]):
        one.add(action)
        one.forget(np.array([number == 1, number == 2]))
    other.replace(one.each())
    assert [len(played) for played in one.each()] == [1, 0]
    for number, action in enumerate(actions[3:]):
        for record in (one, other):
            record.add(action)
            record.forget(np.array([number == 1, False]))
        assert all(map(np.array_equal, one.each(), other.each()))
