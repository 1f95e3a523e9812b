"""What is where: MongoDB documents, filters, the bulk writer, the schema, the embedded mongod.

The MongoDB driver stays in this room; no file of the store is opened here.
"""
