variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "vpc_id" {
  description = "The network; it is the caller's."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in two zones at least."
  type        = list(string)
}

variable "certificate_arn" {
  description = "ACM certificate of the name that vendors call."
  type        = string
}

variable "allowed_cidrs" {
  description = "IPv4 networks that may deliver. Vendors change theirs: signatures are what protects."
  type        = set(string)
  default     = ["0.0.0.0/0"]
}

variable "target_type" {
  description = "`ip` for tasks of Fargate, `instance` for an autoscaling group."
  type        = string
  default     = "ip"
}

variable "public_port" {
  description = "Port of the public listener."
  type        = number
  default     = 8443
}

variable "admin_port" {
  description = "Port of the admin listener, asked for /readyz only."
  type        = number
  default     = 8444
}

# AWS does not say whether it drops a header of this name that a client sends by itself: take one that nobody
# can guess, such as X-Client-Cert- and twenty random letters.
variable "client_certificate_header" {
  description = "Asks clients for certificates and passes them on under this name, the gateway's `edge.client_certificate_header`; null: does not ask."
  type        = string
  default     = null
}

variable "access_logs_bucket" {
  description = "Bucket for access logs; null for none."
  type        = string
  default     = null
}

variable "web_acl_arn" {
  description = "A web ACL of WAF; null for none. Its body rules must count, not block: vendors send markup and code."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
