variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "names" {
  description = "Secrets that the configuration refers to, such as `acme-stripe`; beside `database`, which is always there."
  type        = set(string)

  validation {
    condition     = !contains(var.names, "database")
    error_message = "`database` is made by the module itself."
  }
}

variable "vpc_id" {
  description = "The network of the database."
  type        = string
}

variable "private_subnet_ids" {
  description = "Where the function runs that rotates; needs a way to Secrets Manager (NAT or an endpoint)."
  type        = list(string)
}

variable "database_security_group_id" {
  description = "The database's security group (module database)."
  type        = string
}

variable "master_secret_arn" {
  description = "The secret of the database's administrator (module database)."
  type        = string
}

variable "master_secret_kms_key_arn" {
  description = "The key of that secret (module database). Its policy must leave it to IAM who may use it, as AWS's default does."
  type        = string
}

variable "rotate" {
  description = "Whether the password of the database is rotated: true once the secret `database` has a value (README, First steps)."
  type        = bool
  default     = false
}

variable "rotation_days" {
  description = "Days between two passwords of the database; modules service and asg start the gateway anew four times as often."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
