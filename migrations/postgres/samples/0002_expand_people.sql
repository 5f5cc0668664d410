INSERT INTO audit VALUES (2, 1767225600000, 'user:ops', 'lane.pause', 'acme/pay', 'too many errors', 'acme');
INSERT INTO sessions VALUES (decode(repeat('00', 32), 'hex'), 'ops', 1767225600000, 1767268800000);
