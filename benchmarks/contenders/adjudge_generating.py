"""adjudge's sampler on prompts of given ids.

python adjudge_generating.py JOB.json
"""

from __future__ import annotations

import torch
from pace import Pace, read_job

from adjudge.core.types import Encoded
from adjudge.models.adapters.lowrank import round_frozen
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.heap import keep_freed_memory
from adjudge.models.engine.network import Network
from adjudge.models.engine.sampler import Sampler
from adjudge.models.engine.sampling import Sampling
from adjudge.models.trunk.loading import load_pretrained


def main() -> None:
    job, pace = read_job(), Pace()
    pretrained = load_pretrained(job["model"])
    assert pretrained.readout is not None
    pretrained.trunk.requires_grad_(False)
    keep_freed_memory()
    if job["precision"] != "float32":
        round_frozen(pretrained.trunk, getattr(torch, job["precision"]))
    prompts, shared, samples = job["prompts"], job["shared"], job["samples"]
    head = ScoreHead(pretrained.hidden_size, 2, pooling="last")
    network = Network(Engine(pretrained.trunk, causal=True), head, tuple(prompts[0][:shared]), job["precision"])
    rows = [Encoded(tuple(ids[shared:-1]), tuple(ids[-1:]), len(ids) - shared - 1) for ids in prompts]
    sampling = Sampling(job["new_tokens"], temperature=0.0 if samples == 1 else 1.0)
    sampler = Sampler(network, pretrained.readout, pretrained.tokenizer, sampling)
    names = [str(i) for i in range(len(rows))]
    replies = []
    pace.ready()
    while (amount := pace.wait()) is not None:
        for batch in range(amount):
            replies = sampler.write(rows, samples=samples, row_ids=names, seed=batch)
            pace.count(rows=len(rows) * samples)
        pace.report()
    pace.end(
        replies=[list(one.ids) for row in replies for one in row],
        engine=network.engine.path,
        precision=network.precision,
    )


if __name__ == "__main__":
    main()
