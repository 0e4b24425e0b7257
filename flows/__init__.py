"""Prefect flows: a thin layer over `pipeline/` (and `model/`) that schedules, shows and survives.

    curate.py       the flow `curate`: plan, refine, dedup, tokenize, publish
    refine.py       refining in chunks: as tasks of a flow run, or as flow runs on many workers
    watch.py        the flow `watch`: a new crawl is tried on a sample, compared with the last one, then run
    rerun.py        the flow `rerun`: runs what crashed again, a few times at most
    train.py        the flows `pretrain` and `sft`: a run of the trainer, resumed from its checkpoint
    train_forms.py  their parameters; train_showing.py, curves and samples while they run; train_trigger.py, the
                    automation that trains on what was published
    forms.py        parameters and results: the typed form in the UI and the contract between flows
    showing.py      artifacts: progress, funnel, set-aside records, data card, links
    faults.py       which errors are worth another try, and how an error is told
    logs.py         log lines of worker processes, brought to the run's log
    metrics.py      what Prometheus reads
    traces.py       what an OpenTelemetry collector gets
    automations.py  what a self-hosted server lacks: zombies are crashed, crashed runs are run again, webhooks
    deployments.py  `gristmill deploy`
    upkeep.py       what automations miss, because a server died over their events
    server.py       `gristmill up` and `gristmill worker`
    commands.py     these as commands of `gristmill`
    ray.py          an Executor on Ray, without Prefect
    slurm.py        refining as a Slurm job array, through datatrove's executor

Prefect knows nothing that the work folder does not: a run that lost its server goes on from its manifests.
"""
