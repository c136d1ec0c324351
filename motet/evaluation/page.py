"""What pages of reports are made of: their frame, texts, cells and strips."""

from __future__ import annotations

from collections.abc import Sequence

from motet.evaluation.plots import differences_axis, interval_svg, percents, ticks_svg
from motet.evaluation.quoting import safe
from motet.evaluation.verdicts import excludes_0
from motet.programs.frontier.points import Interval

_STYLE = """
:root { --page: #fff; --text: #1b1b1f; --dim: #5c5f66; --grid: #e3e4e8; --axis: #8a8d95;
  --good: #d9f0df; --bad: #f9dedc; --part: #fdf2cf; --shadow: rgb(0 0 0 / 30%);
  --series-0: #1b1b1f; --series-1: #c44f00; --series-2: #0068a8; --series-3: #00805c;
  --series-4: #b5548b; --series-5: #b37a00; --series-6: #2b8fc7; --series-7: #6a51a3; }
@media (prefers-color-scheme: dark) { :root { --page: #16171a; --text: #e8e8ea; --dim: #a4a7ae;
  --grid: #33353b; --axis: #797c84; --good: #1d4029; --bad: #54211f;
  --part: #4a3d12; --shadow: rgb(255 255 255 / 35%); --series-0: #f2f2f4; --series-1: #ff8a45; --series-2: #58a9ea;
  --series-3: #2fc79a; --series-4: #e593c1; --series-5: #f0b429; --series-6: #8fd0f5;
  --series-7: #b3a0ea; } }
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 20px 16px 48px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, 'DejaVu Sans', Verdana, sans-serif; }
h1 { font-size: 24px; line-height: 1.25; margin: 4px 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 8px; }
p { margin: 6px 0; max-width: 80ch; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
/* Shadows at the sides behind which there is more: covers scroll with the table, shadows do not. */
.wide { overflow-x: auto; background:
  linear-gradient(to right, var(--page) 40%, transparent) 0 0 / 36px 100% no-repeat local,
  linear-gradient(to left, var(--page) 40%, transparent) 100% 0 / 36px 100% no-repeat local,
  linear-gradient(to right, var(--shadow), transparent) 0 0 / 14px 100% no-repeat scroll,
  linear-gradient(to left, var(--shadow), transparent) 100% 0 / 14px 100% no-repeat scroll; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--grid);
  vertical-align: top; white-space: nowrap; }
th { white-space: normal; font-weight: 600; color: var(--dim); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td details { margin: 2px 0; white-space: normal; overflow-wrap: anywhere; text-align: left;
  min-width: 160px; max-width: 320px; }
td summary { font-weight: 400; text-align: right; }
.name { white-space: normal; overflow-wrap: anywhere; min-width: 200px; max-width: 360px; }
@media (max-width: 640px) { .name { min-width: 140px; } }
small { display: block; color: var(--dim); font-size: 12px; }
.plots { display: flex; flex-wrap: wrap; gap: 16px 24px; }
figure { margin: 0; flex: 1 1 380px; max-width: min(100%, 640px); }
svg { overflow: visible; }
svg text { fill: var(--text); font: 12px system-ui, 'DejaVu Sans', Verdana, sans-serif; }
.plot { display: block; width: 100%; height: auto; }
@media (min-width: 1000px) { .plot text { font-size: 10px; } }
.strip { display: block; width: 100%; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; list-style: none; margin: 8px 0 12px;
  padding: 0; font-size: 14px; }
.legend li { display: flex; gap: 6px; align-items: flex-start; overflow-wrap: anywhere;
  min-width: 0; }
.legend svg { flex: none; margin-top: 3px; }
.strips { display: grid; grid-template-columns: minmax(120px, 280px) minmax(200px, 520px) auto;
  gap: 6px 16px; align-items: center; font-size: 14px; }
.strips .name { overflow-wrap: anywhere; max-width: none; }
.strips .number { font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 640px) { .strips { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .strips .name { margin-top: 10px; } }
.good { background: var(--good); } .bad { background: var(--bad); } .part { background: var(--part); }
details { margin: 12px 0; } summary { cursor: pointer; font-weight: 600; }
li { margin: 4px 0; max-width: 80ch; overflow-wrap: anywhere; }
"""


def page(title: str, body: Sequence[str]) -> str:
    """Return the whole file; its policy forbids scripts, and all that is not in the file."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            "<html lang='en'><head><meta charset='utf-8'>",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>",
            "",
        ]
    )


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cell(text: str, below: str = "", kind: str = "") -> str:
    small = f"<small>{below}</small>" if below else ""
    css = f" class='{kind}'" if kind else ""
    return f"<td{css}>{text}{small}</td>"


def interval_cell(interval: Interval | None, sign: str = "", *, is_judged: bool = True) -> str:
    """Return a mean with its interval; coloured where it has a sign, excludes 0 and is judged."""
    if interval is None:
        return cell("-")
    mean, _, ends = percents(interval, sign=sign).partition(" ")
    kind = ""
    if sign and is_judged and excludes_0(interval):
        kind = "good" if interval.mean > 0 else "bad"
    return cell(mean, ends.strip("()"), kind)


def strips(title: str, rows: Sequence[tuple[str, Interval, str]]) -> list[str]:
    """Return intervals around 0, one below the other."""
    if not rows:
        return []
    axis = differences_axis([interval for _, interval, _ in rows])
    parts = [f"<h2>{safe(title)}</h2>", "<div class='strips'>"]
    for name, interval, colour in rows:
        parts.append(f"<div class='name'>{safe(name)}</div>")
        parts.append(f"<div>{interval_svg(interval, axis, colour)}</div>")
        parts.append(f"<div class='number'>{percents(interval, sign='+')}</div>")
    parts += ["<div></div>", f"<div>{ticks_svg(axis, sign='+')}</div>", "<div></div>", "</div>"]
    return parts
