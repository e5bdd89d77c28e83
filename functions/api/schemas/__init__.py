"""What the API takes (`In`) and answers (`Out`), one module for each resource."""
