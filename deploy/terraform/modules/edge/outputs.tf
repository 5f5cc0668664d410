output "gateway_security_group_id" {
  description = "For what runs the gateway."
  value       = aws_security_group.gateway.id
}

output "target_group_arn" {
  description = "Where the gateway is registered. Depends on the rules, without which a service cannot use it."
  value       = aws_lb_target_group.gateway.arn
  depends_on  = [aws_lb_listener_rule.public]
}

output "dns_name" {
  description = "Where the name that vendors call must point."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "For an alias record."
  value       = aws_lb.this.zone_id
}

output "load_balancer_suffix" {
  description = "The dimension LoadBalancer of its metrics."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffix" {
  description = "The dimension TargetGroup of its metrics."
  value       = aws_lb_target_group.gateway.arn_suffix
}

output "ports" {
  description = "Where the gateway must listen."
  value       = { public = var.public_port, admin = var.admin_port }
}
