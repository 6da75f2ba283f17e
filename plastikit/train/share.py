"""Some of a run's environments, stepped one after another, with their actions and outcomes on the board."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plastikit.train.board import Board
from plastikit.train.environment import Environment

Maker = Callable[[], Environment]


class Share:
    """The environments of some rows; each is made when it is first asked for.

    Args:
        makers: Makes the environment of each row, by the row's number.
        board: Where actions are found and outcomes are written.
        ends_at_success: The rows whose episodes end at success too.
    """

    def __init__(self, makers: Mapping[int, Maker], board: Board, ends_at_success: frozenset[int]) -> None:
        self._makers = makers
        self._board = board
        self._ends_at_success = ends_at_success
        self._environments: dict[int, Environment] = {}

    def begin(self) -> None:
        """Begin an episode in every environment that is asked."""
        for row in self._asked():
            if row not in self._environments:
                self._environments[row] = self._makers[row]()
            self._begin(row)

    def step(self) -> None:
        """Take one action in every environment that is asked; an ended episode's successor begins at once."""
        board = self._board
        for row in self._asked():
            # A copy, since what an environment keeps of its action must not change under its hands.
            outcome = self._environments[row].step(board.action[row].copy())
            board.next_observation[row] = outcome.observation
            board.reward[row] = outcome.reward
            board.is_terminated[row] = outcome.is_terminated
            board.is_truncated[row] = outcome.is_truncated
            board.is_success[row] = bool(outcome.is_success)
            board.is_success_told[row] = outcome.is_success is not None
            is_ended = outcome.is_terminated or outcome.is_truncated
            if is_ended or (outcome.is_success and row in self._ends_at_success):
                self._begin(row)

    def close(self) -> None:
        """Release the environments."""
        for environment in self._environments.values():
            environment.close()

    def _asked(self) -> list[int]:
        is_asked = self._board.is_asked.tolist()
        return [row for row in self._makers if is_asked[row]]

    def _begin(self, row: int) -> None:
        goal = int(self._board.goal[row])
        if goal >= 0:
            self._board.observation[row] = self._environments[row].reset(goal)
