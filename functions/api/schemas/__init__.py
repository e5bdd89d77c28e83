"""Request bodies (`In`) and responses (`Out`) of the API, one module for each resource."""
