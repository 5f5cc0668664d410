# The load balancer: TLS ends here and begins again towards the gateway, which trusts its subnets'
# word about clients (edge.trusted_proxies) and sends HSTS with every answer of its own.

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-edge"
  description = "Vendors to the load balancer"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each          = var.allowed_cidrs
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS; nothing listens on port 80, for a redirect would hide a wrong URL"
  cidr_ipv4         = each.value
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each                     = { deliveries = var.public_port, readiness = var.admin_port }
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "To the gateway: ${each.key}"
  referenced_security_group_id = aws_security_group.gateway.id
  from_port                    = each.value
  to_port                      = each.value
  ip_protocol                  = "tcp"
}

# Of whatever runs the gateway: tasks or instances.
resource "aws_security_group" "gateway" {
  # checkov:skip=CKV2_AWS_5: modules service and asg attach it
  name        = "${var.name}-gateway"
  description = "The gateway"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  for_each                     = { deliveries = var.public_port, readiness = var.admin_port }
  security_group_id            = aws_security_group.gateway.id
  description                  = "From the load balancer: ${each.key}"
  referenced_security_group_id = aws_security_group.load_balancer.id
  from_port                    = each.value
  to_port                      = each.value
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "callees" {
  security_group_id = aws_security_group.gateway.id
  description       = "HTTPS to what actions call and to AWS; the gateway itself refuses private addresses"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_lb" "this" {
  # checkov:skip=CKV2_AWS_20: nothing listens on port 80
  # checkov:skip=CKV2_AWS_28: a web ACL is the caller's choice (web_acl_arn): every delivery is verified by its signature
  # checkov:skip=CKV2_AWS_76: as above; nothing of it is a Java logger
  # checkov:skip=CKV_AWS_91: access logs go to the caller's bucket (access_logs_bucket)
  name                       = "${var.name}-edge"
  internal                   = false
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.load_balancer.id]
  subnets                    = var.public_subnet_ids
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  xff_header_processing_mode = "append"
  enable_deletion_protection = var.deletion_protection
  # Below the 75 s that the gateway keeps a trusted proxy's connection, so that the balancer closes first.
  idle_timeout = 60
  tags         = var.tags

  dynamic "access_logs" {
    for_each = var.access_logs_bucket == null ? [] : [var.access_logs_bucket]
    content {
      bucket  = access_logs.value
      prefix  = var.name
      enabled = true
    }
  }
}

resource "aws_lb_target_group" "gateway" {
  name                          = "${var.name}-gateway"
  vpc_id                        = var.vpc_id
  target_type                   = var.target_type
  port                          = var.public_port
  protocol                      = "HTTPS"
  load_balancing_algorithm_type = "least_outstanding_requests"
  # The gateway says for 2 s that it is no longer ready, then gives requests 10 s.
  deregistration_delay = 30
  tags                 = var.tags

  health_check {
    protocol            = "HTTPS"
    port                = var.admin_port
    path                = "/readyz"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  # TLS 1.2 and 1.3.
  ssl_policy      = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn = var.certificate_arn
  tags            = var.tags

  # The gateway looks at what comes through: which source demands a certificate, it alone knows.
  routing_http_request_x_amzn_mtls_clientcert_header_name = var.client_certificate_header

  dynamic "mutual_authentication" {
    for_each = var.client_certificate_header == null ? [] : ["passthrough"]
    content {
      mode = mutual_authentication.value
    }
  }

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "application/json"
      status_code  = "404"
      message_body = jsonencode({ ok = false, error = "not_found", message = "no such path" })
    }
  }
}

# What the public listener answers with anything but 404. Two rules: AWS takes five values in one, and its
# guide says three in a condition.
resource "aws_lb_listener_rule" "public" {
  for_each = {
    senders = { priority = 10, paths = ["/webhooks/*", "/uploads/*", "/artifacts/*"] }
    sites   = { priority = 11, paths = ["/site/v1/*", "/.well-known/jwks.json"] }
  }

  listener_arn = aws_lb_listener.https.arn
  priority     = each.value.priority
  tags         = var.tags

  condition {
    path_pattern {
      values = each.value.paths
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count        = var.web_acl_arn == null ? 0 : 1
  resource_arn = aws_lb.this.arn
  web_acl_arn  = var.web_acl_arn
}
