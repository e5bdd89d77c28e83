"""The stores on DynamoDB: one module a store, and the modules that they share."""
