"""Programs that run in pods, standard library only: they are brought in as data and import nothing of ours but
``operators.sandbox``."""
