"""The organisations' namespaces in Kubernetes, where their code runs."""
