"""What the containers of docker-compose.yml run: ``python -m experiments.containers ROLE``."""
