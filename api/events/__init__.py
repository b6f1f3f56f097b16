"""Events: CloudEvents from outside and from steps, and the workflows that wait for them."""
