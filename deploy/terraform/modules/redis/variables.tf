variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "vpc_id" {
  description = "The network; it is the caller's."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the nodes, in two zones at least."
  type        = list(string)
}

variable "gateway_security_group_id" {
  description = "Who may connect (module edge)."
  type        = string
}

variable "user_group_id" {
  description = "Users that may connect, made outside of Terraform (`aws elasticache create-user-group`)."
  type        = string
}

variable "node_type" {
  description = "Instance class of a node."
  type        = string
  default     = "cache.t4g.small"
}

variable "kms_key_arn" {
  description = "Encrypts what it stores; a key of the caller's."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
