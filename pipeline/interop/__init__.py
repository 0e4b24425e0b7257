"""Both ways between Gristmill and datatrove.

- `DatatroveStep`    a datatrove filter or formatter as a step of a recipe: `- datatrove: C4QualityFilter`
- `GristmillFilter`  a Gristmill step as a filter in a datatrove pipeline
- `RefineSplits`     the refine phase as a datatrove pipeline step, for its Slurm executor

May be imported from `pipeline.interop.datatrove`.
"""
