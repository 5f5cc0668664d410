INSERT INTO audit (seq, at, actor, action, object, reason, tenant)
VALUES (2, 1767225600000, 'user:ops', 'lane.pause', 'acme/pay', 'too many errors', 'acme');
INSERT INTO sessions (digest, user_name, created_at, expires_at) VALUES (decode(repeat('00', 32), 'hex'), 'ops', 1767225600000, 1767268800000);
