"""How a run is carried out: plan, scheduler, task runners, and the Prefect server that it reports to."""
