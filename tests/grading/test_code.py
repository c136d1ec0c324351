"""Programs of models are graded by their tests, and only by them."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from motet.errors import DataError, SandboxError
from motet.grading.code import grade_code
from motet.grading.grade import Grade
from motet.grading.rows import CodeTests, Row, grade_row
from motet.sandbox import Limits

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
pytestmark = needs_bubblewrap

_PROMPT = 'def double(x):\n    """Return twice x."""\n'
_ASSERTS = "assert double(2) == 4\nassert double([1]) == [1, 1]\nassert double('a') == 'aa'\n"
_LIMITS = Limits(wall_s=5.0)


def _row(source: str = _ASSERTS, **settings: Any) -> Row:
    fields = {"entry_point": "double", "prefix": _PROMPT, "limits": _LIMITS, **settings}
    tests = CodeTests(source=source, **fields)
    return Row(id="r", prompt=_PROMPT, golds=(), kind="code", task="", tests=tests)


def _grade(text: str | None, row: Row | None = None, **settings: Any) -> Grade:
    return asyncio.run(grade_code(row or _row(), text, **settings))


@pytest.mark.parametrize(
    "text",
    [
        "def double(x):\n    return 2 * x",
        "```python\ndef double(x):\n    return x * 2\n```",
        "Here it is:\n```py\ndef double(x):\n    return x * 2\n```\nIt works.",
        (
            "First:\n```\ndef double(x):\n    return 3\n```\nNo, better:\n```\n"
            "def double(x):\n    return 2 * x\n```\nUse it so:\n```\nprint(double(2))\n```"
        ),
        "```python\ndef double(x):\n    return 2 * x\n",
        "```python\n    return 2 * x\n```",
        "    return 2 * x\n",
        "return 2 * x\n",
        "y = x\n    return y + y",
        "    return x + x\n\ndef main(:\n    pri",
        "    return x + x\n\n\nif __name__ == '__main__':\n    raise SystemExit(1)",
        _PROMPT + "    return 2 * x\n",
        "Sure! The function:\n\ndef double(x):\n    return x + x\n\nThat is all.",
        "```bash\npip install x\n```\n```python\ndouble = lambda x: 2 * x\n```",
        "~~~python\ndef double(x): return 2 * x\n~~~",
        "  ```python\n  def double(x):\n      return 2 * x\n  ```",
        "class Two:\n    n = 2\ndef double(x):\n    import math\n    return x * Two.n",
    ],
)
def test_a_right_program_is_found_in_its_reply(text: str) -> None:
    """Blocks, bare programs and bodies that go on with the prompt are all run."""
    grade = _grade(text)

    assert (grade.verdict, grade.reason) == ("right", None)
    assert grade.answer


@pytest.mark.parametrize(
    "text", ["The answer is four.", "I cannot help with that", "x is (probably) 4: yes", "```\n```"]
)
def test_text_without_a_program_is_no_answer(text: str) -> None:
    """Prose is unreadable, not wrong."""
    assert (_grade(text).verdict, _grade(text).missing) == ("no answer", "unreadable")


def test_an_empty_or_cut_off_reply_is_no_answer() -> None:
    """As for every other kind of row."""
    assert [_grade(text).missing for text in (None, "", " \n")] == ["empty"] * 3
    assert _grade("def double(x): return 2 * x", is_cut_off=True).missing == "cut off"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def double(x): return 4", "assert: assert double([1]) == [1, 1]"),
        ("def double(x): return x.y", "exception: raised AttributeError: 'int' object"),
        ("def double(x): assert x == 3, 'no'", "exception: raised AssertionError: no"),
        ("def double(x): raise ValueError('x')", "exception: raised ValueError: x"),
        ("raise KeyError('k')\ndef double(x): return 2 * x", "exception: raised KeyError"),
        ("def double(x): return bytearray(10**10)", "memory: MemoryError"),
        ("def double(x):\n  while True: pass", "time: over"),
        ("import time\ntime.sleep(99)\ndef double(x): return x", "time: over 1.5 s"),
        ("def double(x): return double(x)", "exception: raised RecursionError"),
        ("double = 4", "exception: TypeError: 'int' object is not callable"),
        ("def double(x, y): return x", "exception: raised TypeError"),
        ("def double(x): return object()", "assert: assert double(2) == 4"),
        ("def double(x):\n  x = [x]\n  for _ in range(999): x = [x]\n  return x", "exception: "),
    ],
)
def test_a_wrong_program_is_told_why(text: str, reason: str) -> None:
    """The reason is the first assert that fails, the exception, or the limit."""
    grade = _grade(text, _row(limits=Limits(wall_s=1.5)))

    assert grade.verdict == "wrong"
    assert (grade.reason or "").startswith(reason)


_CHEATS = {
    "ending well": "import sys\ndef double(x): sys.exit(0)",
    "ending well at once": "import sys\nsys.exit(0)\ndef double(x): return x",
    "ending the process well": "import os\ndef double(x): os._exit(0)",
    "ending the process before the tests": "import os\nos._exit(0)\ndef double(x): return x",
    "quit": "def double(x): quit()",
    "exit by its own exception": "def double(x): raise SystemExit(0)",
    "an exit that is an assertion": (
        "class Fine(SystemExit, Exception): pass\ndef double(x): raise Fine(0)"
    ),
    "ending in another thread": (
        "import os, threading\nthreading.Timer(0.05, os._exit, [0]).start()\n"
        "def double(x):\n  import time; time.sleep(1)"
    ),
    "printing that it is right": (
        "import os\nfor fd in range(64):\n  try: os.write(fd, b'right right 1 ok\\n')\n"
        "  except OSError: pass\ndef double(x): return 0"
    ),
    "writing verdicts into every descriptor": (
        "import os, sys\nfrom motet.grading.inside.plain import encode\n"
        "data = encode(('0' * 32, 'right', '', 0))\n"
        "for fd in range(64):\n  try: os.write(fd, b'%016d' % len(data) + data)\n"
        "  except OSError: pass\ndef double(x): return 0"
    ),
    "a forged answer of the protocol": (
        "import os\ndef double(x):\n  data = b'x' * 40\n"
        "  for fd in range(3, 64):\n    try: os.write(fd, b'%016d' % 40 + data)\n"
        "    except OSError: pass\n  return 0"
    ),
    "patched checks of types": "import builtins\nbuiltins.isinstance = lambda *a: True\n"
    "def double(x): return 0",
    "patched asserts": (
        "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})\n"
        "def double(x): return 0"
    ),
    "patched tests": (
        "import unittest, sys\nunittest.TestCase.assertEqual = lambda *a: None\n"
        "sys.modules['math'] = None\ndef double(x): return 0"
    ),
    "a value that equals all": (
        "class All:\n  def __eq__(self, other): return True\n"
        "  def __ne__(self, other): return False\n  __hash__ = None\n"
        "def double(x): return All()"
    ),
    "a number that equals all": (
        "class All(int):\n  def __eq__(self, other): return True\n"
        "  def __sub__(self, other): return self\n  __lt__ = __le__ = __eq__\n"
        "def double(x): return All(0)"
    ),
    "a list of values that equal all": (
        "class All(list):\n  def __eq__(self, other): return True\n"
        "class Any:\n  def __eq__(self, other): return True\n"
        "def double(x): return All([Any()])"
    ),
    "a text that equals all": (
        "class All(str):\n  def __eq__(self, other): return True\n  __hash__ = str.__hash__\n"
        "def double(x): return All('')"
    ),
    "values at the end of the process": (
        "import atexit, os\natexit.register(os._exit, 0)\ndef double(x): return 0"
    ),
    "killing the process of the tests": (
        "import os, signal\ndef double(x):\n  os.kill(os.getppid(), signal.SIGKILL)"
    ),
    "interrupting the process of the tests": (
        "import os, signal\ndef double(x):\n  os.kill(os.getppid(), signal.SIGINT)\n  return 0"
    ),
    "killing everybody": "import os, signal\ndef double(x):\n  os.kill(-1, signal.SIGKILL)",
    "reading the tests from the parent": (
        "import glob, os\ntexts = []\n"
        "for path in glob.glob('/proc/*/mem') + glob.glob('/proc/*/fd/*') + glob.glob('/box/**',"
        " recursive=True):\n  try: texts.append(open(path, 'rb').read(9**6))\n"
        "  except OSError: pass\n"
        "found = [t for t in texts if b'double([1])' in t]\n"
        "def double(x): return 2 * x if found else 0"
    ),
    "reading the tests from its own input": (
        "import os, sys\ntexts = [sys.stdin.read()]\n"
        "for fd in range(64):\n  try: texts.append(os.pread(fd, 9**6, 0).decode('latin-1'))\n"
        "  except OSError: pass\ndef double(x): return 2 * x if any('[1, 1]' in t for t in texts)"
        " else 0"
    ),
    "reading the tests from its own memory": (
        "import gc, sys\ndef double(x):\n"
        "  frame, seen = sys._getframe(), []\n"
        "  while frame: seen += list(frame.f_locals.values()); frame = frame.f_back\n"
        "  seen += gc.get_objects()\n"
        "  return 2 * x if any(type(s) is str and 'double([1]) ==' in s for s in seen) else 0"
    ),
    "a module that the tests import": (
        "import os\nfor folder in ('/box', '/tmp', '.'):\n"
        "  open(folder + '/statistics.py', 'w').write('import os, sys; mean = lambda v: 6')\n"
        "def double(x): return 0"
    ),
    "helpers of the tests": (
        "def sorted(*a, **k): return 0\ndef len(*a): return 0\ndef check(*a): return None\n"
        "class math: isclose = lambda *a, **k: True\ndef double(x): return 0"
    ),
    "methods that agree": (
        "class Yes:\n  def __getattr__(self, name): return lambda *a: True\n"
        "  def __contains__(self, x): return True\n  def __bool__(self): return True\n"
        "def double(x): return Yes()"
    ),
    "arithmetic that agrees": (
        "class Near:\n  def __sub__(self, o): return self\n  __rsub__ = __sub__\n"
        "  def __abs__(self): return self\n  def __lt__(self, o): return True\n"
        "  __le__ = __gt__ = __ge__ = __lt__\ndef double(x): return Near()"
    ),
    "a fork that answers": ("import os\ndef double(x):\n  if os.fork(): os._exit(0)\n  return 0"),
}
_TESTS = (
    "import statistics\n"
    "import unittest\n"
    "def check(candidate):\n"
    "    assert candidate(2) == 4, 'first'\n"
    "    assert candidate([1]) == [1, 1]\n"
    "    assert sorted(candidate([2, 1])) == sorted([2, 1, 2, 1])\n"
    "    unittest.TestCase().assertEqual(candidate('a'), 'aa')\n"
    "    assert statistics.mean([candidate(3), 6]) == 6\n"
    "    assert len(candidate('ab')) == 4\n"
    "    assert abs(candidate(0.5) - 1.0) < 1e-6\n"
    "    assert math.isclose(candidate(0.5), 1.0)\n"
    "    assert 1 in candidate([1])\n"
    "    assert candidate('ab').startswith('aba')\n"
    "check(double)\n"
)


@pytest.mark.parametrize("name", _CHEATS)
def test_no_program_fakes_success(name: str) -> None:
    """A program that answers no call rightly is wrong, whatever else it does."""
    row = _row(_TESTS)

    assert _grade(_CHEATS[name], row).verdict == "wrong"


@pytest.mark.parametrize("name", _CHEATS)
@pytest.mark.parametrize("test", [line for line in _TESTS.splitlines() if "candidate(" in line])
@pytest.mark.slow
def test_no_program_fakes_success_at_any_single_test(name: str, test: str) -> None:
    """Nor where only one sort of test is left to pass."""
    if "def check" in test:
        pytest.skip("no test")
    assert (
        _grade(_CHEATS[name], _row(test.strip().replace("candidate", "double"))).verdict == "wrong"
    )


def test_the_tests_that_cheats_meet_are_met_by_a_right_program() -> None:
    """So it is the cheats that fail, not the tests."""
    grade = _grade("def double(x): return x + x", _row(_TESTS))

    assert (grade.verdict, grade.reason) == ("right", None)


@pytest.mark.parametrize(
    ("source", "program"),
    [
        ("x = [3, 1]\nassert f(x) is None\nassert x == [1, 3]", "def f(x): x.sort()"),
        ("d = {1: 2}\nf(d)\nassert d == {}", "def f(d): d.clear()"),
        ("assert f(1, b=2) == (1, 2)", "def f(a, b): return a, b"),
        ("assert f(lambda x: x + 1, 2) == 4", "def f(g, x): return g(g(x))"),
        ("assert list(f(3)) == [0, 1, 2]", "def f(n):\n  for i in range(n): yield i"),
        ("assert set(f([1, 1])) == {1}", "def f(x): return map(int, x)"),
        ("assert f() == range(3)", "def f(): return range(3)"),
        ("from fractions import Fraction\nassert f(2) == Fraction(1, 2)",
         "from fractions import Fraction\ndef f(x): return Fraction(1, x)"),
        ("assert f('abca') == {'a': 2, 'b': 1, 'c': 1}",
         "from collections import Counter\ndef f(x): return Counter(x)"),
        ("assert f() == (1, 2)",
         "from collections import namedtuple\nP = namedtuple('P', 'a b')\ndef f(): return P(1, 2)"),
        ("assert f(Node(3)) == 3", "class Node:\n  def __init__(s, v): s.v = v\ndef f(n): return n.v"),
        ("n = Node()\nn.left = Node()\nassert f(n) == 1 and f(n.left) == 0",
         "class Node: left = None\ndef f(n): return int(n.left is not None)"),
        ("s = Stack()\ns.push(4)\nassert len(s) == 1 and s.pop() == 4 and not s",
         "class Stack(list):\n  push = list.append\ndef f(): pass"),
        ("b = Box(2)\nb[0] = 5\nassert b[0] == 5 and str(b) == 'box' and Box(1) == Box(1)",
         ("class Box:\n  def __init__(s, n): s.x = [0] * n\n  def __getitem__(s, i): return s.x[i]\n"
         "  def __setitem__(s, i, v): s.x[i] = v\n  def __str__(s): return 'box'\n"
         "  def __eq__(s, o): return s.x == o.x\ndef f(): pass")),
        ("try:\n  f(-1)\nexcept ValueError as e:\n  assert 'neg' in str(e)\nelse:\n  assert False",
         "class Neg(ValueError): pass\ndef f(x): raise Neg('neg')"),
        ("assert f(10) == 10**5000", "def f(x): return x**5000"),
        ("assert f('\\ud800') == '\\ud800'", "def f(x): return x"),
        ("import math\nassert math.isnan(f()) and f() != f()", "def f(): return float('nan')"),
        ("assert f() == 2", "x = 1\ndef f():\n  global x\n  x += 1\n  return x"),
        ("assert f(b'a', {1, 2}, frozenset([3]), 1j, None, True) == 6",
         "def f(*a): return len(a)"),
    ],
)  # fmt: skip
def test_what_programs_and_tests_may_do(source: str, program: str) -> None:
    """Changed arguments, functions, generators, classes and exceptions work across the processes."""
    grade = _grade(program, _row(source, entry_point="f", prefix=""))

    assert (grade.verdict, grade.reason) == ("right", None)


def test_helpers_of_the_prompt_are_the_tests_own() -> None:
    """A program that defines a helper anew does not change what the tests use."""
    prefix = 'def twice(x):\n    return 2 * x\n\ndef double(x):\n    """As twice."""\n'
    row = _row("assert twice(double(1)) == 4", prefix=prefix)
    cheat = "def twice(x): return 4\ndef double(x): return 0"

    assert _grade("    return twice(x)", row).verdict == "right"
    assert _grade(cheat, row).verdict == "wrong"


def test_extra_inputs_ask_for_what_the_reference_returns() -> None:
    """Floats may differ a little, other values may not."""
    row = _row("", inputs=((2,), ([1],), (0.1,)), reference=_PROMPT + "    return x + x\n")
    near = (
        "def double(x): return x * 2 + (1e-9 if isinstance(x, float) else 0 * x if x == 2 else [])"
    )

    assert _grade("def double(x): return 2 * x", row).verdict == "right"
    assert _grade(near, row).verdict == "right"
    wrong = _grade("def double(x): return 4 if x == 2 else 0", row)
    assert (wrong.verdict, wrong.reason) == ("wrong", "assert: of ([1],) it is [1, 1], not 0")


def test_whole_programs_are_graded_by_what_they_print() -> None:
    """Each case runs the program anew; trailing blanks do not count."""
    cases = (("2\n", "4\n"), ("5", "10"))
    row = _row("", entry_point="", prefix="", cases=cases)
    right = "```python\nif __name__ == '__main__':\n    print(2 * int(input()), ' ')\n```"

    assert _grade(right, row).verdict == "right"
    assert _grade("print(4)", row).reason == "assert: of '5' it prints '4\\n', not '10'"
    assert (_grade("print(int('x'))", row).reason or "").startswith("exception: ValueError")
    assert (_grade("while True: print(1)", row).reason or "").startswith("output: over")
    assert _grade("import sys\nprint(4)\nsys.exit(3)", row).reason == "exception: exit code 3"


def test_tests_that_cannot_run_are_the_rows_fault() -> None:
    """They end in an error that names the row, never in a wrong answer."""
    for row in (
        _row("assert double(2 = 4"),
        _row("assert double(object()) == 4"),
        _row("", inputs=((2,),), reference="def other(): pass"),
        _row("", inputs=((2,),), reference="def double(x): raise ValueError"),
        _row("", inputs=((object(),),), reference="def double(x): pass"),
        _row("", entry_point=""),
        Row(id="r", prompt="", golds=(), kind="code", task=""),
    ):
        with pytest.raises(DataError, match="row 'r'"):
            _grade("def double(x): return 2 * x", row)
    with pytest.raises(DataError, match="grade_code"):
        grade_row(_row(), "def double(x): return 2 * x")


def test_without_the_sandbox_nothing_is_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other way to run a program."""
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(SandboxError, match="bubblewrap"):
        _grade("def double(x): return 2 * x")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("def double(x): return " + "(" * 5000 + "x" + ")" * 5000, "no answer"),
        ("def double(x): return " + "-" * 100_000 + "x", "no answer"),
        ("```\n" * 20_000, "no answer"),
        ("def double(x):\n" * 20_000, "no answer"),
        ("    return x\n" * 50_000, "wrong"),
        ("x = '\ud800'\ndef double(x): return 2 * x", "right"),
        ("\0def double(x): return 2 * x", "no answer"),
    ],
    ids=["brackets", "signs", "fences", "heads", "bodies", "surrogate", "zero"],
)
def test_hostile_texts_are_graded(text: str, verdict: str) -> None:
    """Whatever the text, it is parsed inside only, and there is a grade."""
    assert _grade(text).verdict == verdict
