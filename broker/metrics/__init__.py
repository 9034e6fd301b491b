"""What brokers count, and who is shown it: MSK's metrics at its four monitoring levels, and open monitoring.

`counts` is all that the serving of requests touches; the rest looks at it when somebody asks.
"""
