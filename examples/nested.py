"""A best-of-2 of mixtures-of-agents whose aggregator is a vote: one expression, one run."""

import motet
from motet import Budget, Model
from motet.programs import best_of_n, mixture_of_agents, self_consistency

smol = Model("local:smollm2")
vote = self_consistency.as_model(model=smol, n=3, extract="text", max_tokens=160)
panel = mixture_of_agents.as_model(
    proposers=[smol, smol], aggregator=vote, layers=2, max_tokens=160
)
best = best_of_n("Name three colours.", model=panel, n=2, verify=len)

if __name__ == "__main__":
    print(motet.plan(best).to_mermaid())
    result = motet.run(best, budget=Budget(max_tokens=12_000))
    print(result.value)
    print(f"{result.usage.calls} calls, {result.usage.tokens} tokens, run {result.run_id}")
