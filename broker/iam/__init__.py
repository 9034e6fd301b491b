"""What of AWS Identity and Access Management a local Amazon MSK needs: who has which keys, whether a signature is
theirs, and what their policies allow. No Kafka protocol and no HTTP: brokers and control plane ask it.
"""
