"""What the API takes (`In`) and returns (`Out`), one module for each resource."""
