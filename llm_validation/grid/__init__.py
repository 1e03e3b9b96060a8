"""How runs are run: the plan, jobs in processes or as stacks of seeds, ranks of a launcher.

    run        one command from base model to rows
    plan       what is to be done, and how long that took where it was recorded
    jobs       jobs of a language model, run alone or stacked
    processes  ranks of torchrun: jobs dealt out, or one model divided

Examples
--------
>>> from llm_validation.grid.plan import Cell, render
>>> print(render([Cell("runs", "pro_pairwise seed 0", False, 30.0)]).splitlines()[0].split())
['stage', 'cells', 'done', 'minutes', 'left']
"""

__all__ = ()  # what is public stands on the page of llm_validation
