"""A script: a run over two Ray nodes of this machine, one of which may be killed on the way.

It is run in a network of its own that has nothing but loopback, since Ray listens on the machine's own address.
Usage: two_nodes.py RECIPE CRAWL OUT [kill]
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def main(recipe_file: str, crawl: str, out: str, kill: bool) -> None:
    import ray
    from ray.cluster_utils import Cluster

    from pipeline.commands.run import run_command
    from pipeline.recipe import load_recipe
    from pipeline.run import silent

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    killed = threading.Event()

    def kill_one() -> None:
        while not list(Path(out).glob("run/work/refine/*/manifest.json")):
            time.sleep(0.02)
        nodes[0].all_processes["raylet"][0].process.kill()
        killed.set()

    if kill:
        threading.Thread(target=kill_one, daemon=True).start()
    outcome = run_command(load_recipe(recipe_file), [crawl], out, "", 0, False, silent, "ray", "")
    if kill:
        assert killed.is_set()
    print("published", outcome.manifest.about["records"]["kept"])
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:4], kill="kill" in sys.argv[4:])
