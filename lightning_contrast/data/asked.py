"""Functions of one's own that write texts or score pairs, such as a language model's: asked once a text, answers kept."""

import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_warn

from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_scores import TextScore
from lightning_contrast.data.text_views import TextView

if TYPE_CHECKING:
    Function = str | Callable[..., Any]
else:
    # What the command line offers; a type checker sees that a function may be passed from Python.
    Function = str


class Asked:
    """A function that is expensive, asked once for each text (or pair), and the file of its answers.

    The file is lines of JSON, a text asked and its answer each. An answer is added as soon as it is there, so whoever
    interrupts a run loses at most the question under way; the next run goes on from there. A line that was cut off is asked
    again. Data modules whose texts are derived (:class:`~lightning_contrast.data.RewrittenQueries`,
    :class:`~lightning_contrast.data.ScoredPairs`) ask on one process a machine, before training (``prepare_data``). Other
    prompts need another file.

    Args:
        function: a callable, or its import path such as ``my_project.prompts.contradict``.
        file: where answers are kept, ``.jsonl``.
        batch_size: ``None``: the function takes one text and returns one answer. A number: it takes a list of so many at
            most and returns as many answers.

    Raises:
        ValueError: for a path without such a function, another ending, or a size out of range.
        TextDataError: in use, for a file of another function, a function that fails, and answers of a wrong kind.
    """

    def __init__(self, function: Function, file: str, batch_size: int | None = None) -> None:
        if not str(file).endswith(".jsonl"):
            raise ValueError(f"file={str(file)!r}: must end in .jsonl; answers are lines of JSON.")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1, or None for one text at a time.")
        self.function = imported(function) if isinstance(function, str) else function
        self.name = function if isinstance(function, str) else named(function)
        self.file, self.batch_size = Path(file), batch_size
        self._known: dict[tuple[str, ...], Any] | None = None

    def checked(self, answer: Any) -> Any:
        """The answer, if it is one.

        Raises:
            ValueError: saying what it must be.
        """
        raise NotImplementedError

    def answers(self, asked: Sequence[tuple[str, ...]]) -> list[Any]:
        """An answer for each; the function is asked for those that the file does not know."""
        known = self._read()
        new = [texts for texts in dict.fromkeys(asked) if texts not in known]
        size = self.batch_size or 1
        for start in range(0, len(new), size):
            some = new[start : start + size]
            found = dict(zip(some, self._ask(some), strict=True))
            self._keep(found)
            known.update(found)
        return [known[texts] for texts in asked]

    def _ask(self, some: list[tuple[str, ...]]) -> list[Any]:
        try:
            if self.batch_size is None:
                found = [self.function(*texts) for texts in some]
            else:
                found = list(self.function([texts[0] if len(texts) == 1 else texts for texts in some]))
        except Exception as error:
            raise TextDataError(
                f"{self.name} failed for {some[0][0][:60]!r}: {type(error).__name__}: {error}. Its {len(self._known or ())} answers "
                f"so far are in {self.file}; start again to go on from there."
            ) from error
        if len(found) != len(some):
            raise TextDataError(f"{self.name} gave {len(found)} answers for {len(some)} texts; it must give as many.")
        try:
            return [self.checked(answer) for answer in found]
        except ValueError as error:
            raise TextDataError(f"{self.name}: for {some[0][0][:60]!r} or a neighbour it {error}") from None

    def _keep(self, found: dict[tuple[str, ...], Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"by": self.name, "asked": list(texts), "answer": answer}) for texts, answer in found.items()
        ]
        with self.file.open("ab", buffering=0) as file:  # one write: lines of several processes do not mix
            file.write("".join(f"{line}\n" for line in lines).encode())

    def _read(self) -> dict[tuple[str, ...], Any]:
        if self._known is None:
            self._known = {}
            for texts, answer in self._kept() if self.file.is_file() else ():
                self._known.setdefault(texts, answer)  # where two processes asked the same, the first counts for all
        return self._known

    def forget(self) -> None:
        """Answers are read from the file again: another machine's may stand before those of this process."""
        self._known = None

    def _kept(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        data = self.file.read_bytes()
        if data and not data.endswith(b"\n"):
            with self.file.open("ab", buffering=0) as file:
                file.write(b"\n")  # so that the next answer has a line of its own
        for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
            if not line.strip():
                continue
            try:
                held = json.loads(line)
                by, texts, answer = held["by"], tuple(held["asked"]), self.checked(held["answer"])
            except (ValueError, KeyError, TypeError):
                rank_zero_warn(f"{self.file}: line {number} is cut off or no answer; what it was for is asked again.")
                continue
            if by != self.name:
                raise TextDataError(
                    f"{self.file}: line {number} is an answer of {by}, not of {self.name}: give another file."
                )
            yield texts, answer


class WrittenBy(Asked, TextView):
    """Texts that a function of yours writes: a paraphrase, a contradiction, a hard negative, a translation there and back.

    Wherever a :class:`~lightning_contrast.data.TextView` goes: in :class:`~lightning_contrast.data.RewrittenQueries`, or as
    the ``view`` of single texts, of which each then has one other view for good; as such it is asked for one text at a
    time, when a batch first needs it.

    Args:
        function: from a text to a text; an empty one, or ``None``, where there is nothing to write.
        file: as of :class:`Asked`.
        batch_size: as of :class:`Asked`; from a list of texts to a list of texts.

    Raises:
        ValueError: as of :class:`Asked`.
    """

    def __call__(self, text: str) -> str:
        """What was written; the text itself where nothing was."""
        return self.answers([(text,)])[0] or text

    def checked(self, answer: Any) -> str:
        """A text, perhaps empty."""
        if answer is not None and not isinstance(answer, str):
            raise ValueError(
                f"wrote {type(answer).__name__} {answer!r:.60}; it must write a text, or None for nothing."
            )
        return (answer or "").strip()


class ScoredBy(Asked, TextScore):
    """How alike a function of yours finds two texts, such as a language model, a cross-encoder or people.

    Args:
        function: from two texts to a number; of ``batch_size``, from a list of tuples of two texts to a list of numbers.
        file: as of :class:`Asked`.
        batch_size: as of :class:`Asked`.

    Raises:
        ValueError: as of :class:`Asked`.
    """

    def __call__(self, one: str, two: str) -> float:
        """The score."""
        return self.answers([(one, two)])[0]

    def checked(self, answer: Any) -> float:
        """A finite number."""
        number = math.nan if isinstance(answer, (bool, str)) or answer is None else float(answer)
        if not math.isfinite(number):
            raise ValueError(f"gave {answer!r:.60}; a score must be a finite number.")
        return number


def written(by: Callable[[str], str], texts: Sequence[str]) -> list[str]:
    """A text for each, empty where there is nothing to write; what is asked is asked in its batches."""
    if isinstance(by, Asked):
        return by.answers([(text,) for text in texts])
    return [by(text) or "" for text in texts]


def imported(path: str) -> Callable[..., Any]:
    """The function at an import path.

    Raises:
        ValueError: saying which part is not there.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name) if module else None
    except ModuleNotFoundError as error:
        raise ValueError(
            f"function={path!r}: {error}. It is looked for in the current folder and in what is installed."
        ) from error
    except AttributeError as error:
        raise ValueError(f"function={path!r}: {module} has no {name!r}.") from error
    if not callable(found):
        raise ValueError(
            f"function={path!r}: must be the import path of a function, such as my_project.prompts.rewrite."
        )
    return found


def named(function: Callable[..., Any]) -> str:
    """Module and name of a callable, by which its answers are known again."""
    held = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(held, '__module__', 'builtins')}.{held.__qualname__}"
