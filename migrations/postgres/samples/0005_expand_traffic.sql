INSERT INTO traffic (tenant, source, at, node, events, refused, succeeded, failed, dead, waiting, acks, acks_2, acks_5, acks_10, acks_25, acks_50, acks_100, acks_250, acks_1000, acks_2000)
VALUES ('acme', 'hub', 1767225600000, 'life', 3, 1, 2, 1, 0, 4, 3, 1, 2, 3, 3, 3, 3, 3, 3, 3);
INSERT INTO secret_uses (tenant, source, secret_version, uses, first_at, last_at)
VALUES ('acme', 'hub', 'env:NEW', 3, 1767225600000, 1767225660000);
