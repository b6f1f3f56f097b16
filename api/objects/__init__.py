"""Objects: large outputs and artifacts, kept in S3 or in a folder. Nothing but the control plane reaches them."""
